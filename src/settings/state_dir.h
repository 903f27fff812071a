/* The directory of the database and the generated key, inside this module. */
#ifndef SETTINGS_STATE_DIR_H
#define SETTINGS_STATE_DIR_H

#include "base/error.h"

/* The directory when none is named: /app/data if it exists, else $STATE_DIRECTORY, else ./data. Absolute; NULL when the
 * working directory is gone. The caller frees. */
char *state_dir_default(void) MUST_CHECK;
/* Makes `path` if it is missing (with its parents, mode 0700; not when `look_only`) and makes sure that files can
 * be written there. The error's text names the path and says what to do. */
int state_dir_prepare(const char *path, bool look_only, struct error *err) MUST_CHECK;

#endif
