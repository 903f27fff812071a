/* The types of settings (types.c) and the checks of texts (checks.c, mounts.c), inside this module. */
#ifndef SETTINGS_TYPES_H
#define SETTINGS_TYPES_H

#include "settings/table.h"

extern const struct setting_type type_text;         /* char *, trimmed; never blank */
extern const struct setting_type type_prose;        /* char *, as it stands */
extern const struct setting_type type_path;         /* char *, made absolute; never blank */
extern const struct setting_type type_bool;         /* bool */
extern const struct setting_type type_count;        /* unsigned within min … max */
extern const struct setting_type type_seconds;      /* unsigned; decimals are rounded up */
extern const struct setting_type type_integer;      /* int64_t */
extern const struct setting_type type_list;         /* struct text_list of trimmed, non-empty items */
extern const struct setting_type type_secret_list;  /* the same, wiped when freed */
extern const struct setting_type type_backend;      /* enum backend_kind, by position in `choices` */
extern const struct setting_type type_log_format;   /* bool, by position in `choices` */
extern const struct setting_type type_log_level;    /* enum log_level; unknown names read as INFO */
extern const struct setting_type type_object;       /* json_t *: a JSON object */
extern const struct setting_type type_labels;       /* json_t *: label texts, as JSON object or k=v,… */
extern const struct setting_type type_tolerations;  /* json_t *: a JSON array of objects */
extern const struct setting_type type_mounts;       /* docker_mounts and, beside it, docker_mount_count */
extern const struct setting_type type_ignored;      /* bool: whether a number was given that is not used */

/* Each gives -1 with what is allowed in the error's text. */
int check_api_key(const char *text, struct error *err) MUST_CHECK;
int check_origin(const char *text, struct error *err) MUST_CHECK;
int check_word(const char *text, struct error *err) MUST_CHECK;
int check_host(const char *text, struct error *err) MUST_CHECK;
int check_published_address(const char *text, struct error *err) MUST_CHECK;
int check_http_url(const char *text, struct error *err) MUST_CHECK;
int check_database_url(const char *text, struct error *err) MUST_CHECK;
int check_size(const char *text, struct error *err) MUST_CHECK;
int check_cpu(const char *text, struct error *err) MUST_CHECK;
int check_dns_label(const char *text, struct error *err) MUST_CHECK;
int check_dns_name(const char *text, struct error *err) MUST_CHECK;
int check_operator_namespace(const char *text, struct error *err) MUST_CHECK;
int check_absolute_path(const char *text, struct error *err) MUST_CHECK;
/* A Kubernetes label key with its value. */
int check_label(const char *key, const char *value, struct error *err) MUST_CHECK;

/* `path` as an absolute path without ".", ".." and doubled slashes, links not looked at. NULL when a relative path
 * has no working directory. The caller frees. */
char *path_normalise(const char *path) MUST_CHECK;

#endif
