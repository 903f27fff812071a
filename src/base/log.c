/* A line is built whole in a buffer and written with one write(), so that lines of threads do not mix. */
#include "base/log.h"

#include <stdatomic.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static _Atomic int minimum = LOG_INFO;
static _Atomic bool as_json;

static const char *const level_names[] = { "DEBUG", "INFO", "WARNING", "ERROR" };

void log_configure(enum log_level level, bool json)
{
    atomic_store(&minimum, (int)level);
    atomic_store(&as_json, json);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&minimum, memory_order_relaxed);
}

bool log_level_from_name(const char *name, enum log_level *level)
{
    static const struct { const char *name; enum log_level level; } names[] = {
        { "DEBUG", LOG_DEBUG }, { "INFO", LOG_INFO }, { "WARNING", LOG_WARNING }, { "WARN", LOG_WARNING },
        { "ERROR", LOG_ERROR }, { "CRITICAL", LOG_ERROR },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcasecmp(name, names[i].name) == 0) {
            *level = names[i].level;
            return true;
        }
    }
    return false;
}

/* Appends text inside quotes: JSON's escapes, which a text line can bear too. Bytes that are not UTF-8 become '?'. */
static void append_quoted(struct buf *line, struct str text)
{
    bool utf8 = str_is_utf8(text);
    buf_append_char(line, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\')
            buf_printf(line, "\\%c", c);
        else if (c == '\n')
            buf_append_text(line, "\\n");
        else if (c < 0x20 || c == 0x7f)
            buf_printf(line, "\\u%04x", c);
        else
            buf_append_char(line, c >= 0x80 && !utf8 ? '?' : (char)c);
    }
    buf_append_char(line, '"');
}

static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return text.len > 0;
}

static void append_json(struct buf *line, enum log_level level, const char *time, const char *message,
                        const struct log_field *fields)
{
    buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", time, level_names[level]);
    append_quoted(line, str_from(message));
    for (; fields->name; fields++) {
        buf_printf(line, ",\"%s\":", fields->name);
        if (fields->text)
            append_quoted(line, str_of(fields->text, fields->len));
        else
            buf_printf(line, "%lld", (long long)fields->number);
    }
    buf_append_text(line, "}\n");
}

static void append_text(struct buf *line, enum log_level level, const char *time, const char *message,
                        const struct log_field *fields)
{
    buf_printf(line, "%s %-7s %s", time, level_names[level], message);
    for (; fields->name; fields++) {
        struct str text = str_of(fields->text, fields->len);
        buf_printf(line, " %s=", fields->name);
        if (!fields->text)
            buf_printf(line, "%lld", (long long)fields->number);
        else if (is_plain(text))
            buf_append_str(line, text);
        else
            append_quoted(line, text);
    }
    buf_append_char(line, '\n');
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    cleanup_buf struct buf line = { .limit = 16384 };
    char time[28];
    clock_format_iso(clock_wall_us(), time);
    if (atomic_load_explicit(&as_json, memory_order_relaxed))
        append_json(&line, level, time, message, fields);
    else
        append_text(&line, level, time, message, fields);
    if (!line.failed && write(STDERR_FILENO, line.data, line.len) < 0)
        return;     /* nobody reads the log; there is nowhere else to say so */
}
