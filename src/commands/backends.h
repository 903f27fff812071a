/* The backend that the settings name. Of use only inside this module. */
#ifndef COMMANDS_BACKENDS_H
#define COMMANDS_BACKENDS_H

#include "backend/backend.h"
#include "settings/settings.h"

/* Contacts nothing yet. ERR_INVALID for an engine that this build does not have. `settings` must outlive the result, which is
 * freed by its ops->free(). */
struct backend *backend_from_settings(const struct settings *settings, struct error *err) MUST_CHECK;

#endif
