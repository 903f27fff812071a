/* Settings for the commands that run and end: what is wrong goes to standard error at once. Main thread. */
#ifndef COMMANDS_READ_SETTINGS_H
#define COMMANDS_READ_SETTINGS_H

#include "settings/settings.h"

/* The settings, or NULL after a line for each problem. `command` begins the lines. `look_only`: makes no state
 * directory. The caller frees. */
struct settings *read_settings_for(const char *command, bool look_only) MUST_CHECK;

#endif
