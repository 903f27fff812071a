/* Structured log lines on standard error, as text or as one JSON object a line. Any thread; one write a line.
 *
 *     log_info("terminal is ready", LOG_STR("terminal", name), LOG_INT("ms", elapsed));
 *
 * Secrets never go into a field. Text from outside is escaped, and cut after 2 KiB. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/error.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_field {
    const char *name;       /* NULL ends the list */
    const char *text;       /* NULL: a number */
    size_t len;
    int64_t number;
};

#define LOG_STR(field, value) log_field_text((field), (value))
#define LOG_SLICE(field, value) log_field_slice((field), (value))
#define LOG_INT(field, value) ((struct log_field){ (field), NULL, 0, (int64_t)(value) })
#define LOG_ERR(error) log_field_text("error", (error)->text)

static inline struct log_field log_field_text(const char *name, const char *value)
{
    return (struct log_field){ name, value ? value : "", value ? strlen(value) : 0, 0 };
}
static inline struct log_field log_field_slice(const char *name, struct str value)
{
    return (struct log_field){ name, value.data ? value.data : "", value.len, 0 };
}

#define log_at(level, message, ...) \
    (log_enabled(level) ? log_write((level), (message), \
        (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { NULL, NULL, 0, 0 } }) : (void)0)
#define log_debug(message, ...) log_at(LOG_DEBUG, message, ##__VA_ARGS__)
#define log_info(message, ...) log_at(LOG_INFO, message, ##__VA_ARGS__)
#define log_warning(message, ...) log_at(LOG_WARNING, message, ##__VA_ARGS__)
#define log_error(message, ...) log_at(LOG_ERROR, message, ##__VA_ARGS__)

bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);

/* Before threads start, and on SIGHUP. */
void log_configure(enum log_level level, bool json);
/* DEBUG, INFO, WARNING (WARN), ERROR (CRITICAL), without case. False: unknown. */
bool log_level_from_name(const char *name, enum log_level *level);

#endif
