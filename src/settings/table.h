/* The table of settings, inside this module: one row a variable. Reading, printing and help all walk it. */
#ifndef SETTINGS_TABLE_H
#define SETTINGS_TABLE_H

#include "settings/settings.h"

#define SETTING_PREFIX "TERMINALS_"

struct setting;

/* How a value is read into its place in `struct settings`, and how that place is freed (NULL: nothing to free).
 * On failure the error's text says what is allowed, as the end of a sentence that names the variable and its value. */
struct setting_type {
    int (*read)(const struct setting *setting, const char *text, void *place, struct error *err);
    void (*free)(void *place);
    bool blank_is_empty;            /* blanks alone count as not given, as an empty variable does for every type */
};

struct setting {
    const char *name;               /* the whole variable name */
    const char *alias;              /* another name for it, or NULL */
    const struct setting_type *type;
    size_t offset;                  /* of the place in `struct settings` */
    const char *fallback;           /* the default, as it would be written; NULL: nothing */
    const char *fallback_shown;     /* for people, where the default is worked out at start; else NULL */
    int64_t min, max;               /* numbers */
    const char *const *choices;     /* NULL-terminated; choices only */
    int (*check)(const char *text, struct error *err);      /* texts, lists' items; NULL: anything */
    const char *help;
    bool secret;                    /* never shown */
    bool reloadable;                /* SIGHUP applies it */
};

extern const struct setting settings_table[];
extern const size_t settings_table_count;

/* Where the value in force came from. */
enum setting_origin { ORIGIN_DEFAULT, ORIGIN_DOTENV, ORIGIN_ENVIRONMENT, ORIGIN_OPTION };

struct setting_source {
    char *text;                     /* as written; NULL: nothing */
    enum setting_origin origin;
};

/* The place of `setting` in `settings`. */
static inline void *setting_place(struct settings *settings, const struct setting *setting)
{
    return (char *)settings + setting->offset;
}
/* The source of the row whose place is `offset`. */
struct setting_source *setting_source_at(const struct settings *settings, size_t offset);

/* What may be shown of a value: the text itself, or with what is secret in it replaced. The caller frees. */
char *setting_masked(const struct setting *setting, const char *text) MUST_CHECK;

#endif
