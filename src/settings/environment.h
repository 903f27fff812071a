/* The variables that settings are read from: the process's environment and the file `.env` in the working
 * directory. Names compare without case, as the original does. Inside this module; main thread. */
#ifndef SETTINGS_ENVIRONMENT_H
#define SETTINGS_ENVIRONMENT_H

#include "settings/table.h"

struct variable {
    char *name, *value;
    enum setting_origin origin;
};

struct environment {
    struct variable *items;
    size_t count;
};

#define cleanup_environment __attribute__((cleanup(environment_free)))

/* Gathers our own variables (TERMINALS_* and OPEN_TERMINAL_SYSTEM_PROMPT) from both places. */
void environment_read(struct environment *environment, struct buf *problems, struct buf *warnings);
/* The variable with this name and origin, which may be empty, or NULL. The last one written wins. */
const struct variable *environment_find(const struct environment *environment, const char *name,
                                        enum setting_origin origin);
void environment_free(struct environment *environment);

/* Reads the text of a `.env` file (dotenv.c): KEY=VALUE lines, `export `, comments, 'single' quotes that are literal and
 * "double" quotes with escapes; a quoted value may span lines. `found` takes over `value`. Lines that are none of this
 * are warned about and skipped; a quote that is never closed is a problem. */
void dotenv_parse(struct str text, void (*found)(void *context, struct str name, char *value), void *context,
                  struct buf *problems, struct buf *warnings);

#endif
