/* A line is built whole in a buffer and written with one write(), so that lines of threads do not mix. */
#include "base/log.h"

#include <stdatomic.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define VALUE_MAX 2048              /* of a field as it is written; the escape that crosses it still fits */

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

/* Characters that steer a terminal, end a line or turn the direction of what follows them: whoever reads the log would see another line
 * than the one that was written. */
static bool is_steering(uint32_t code)
{
    static const struct { uint32_t first, last; } ranges[] = {
        { 0, 0x1f }, { 0x7f, 0x9f }, { 0x61c, 0x61c }, { 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 },
    };
    for (size_t i = 0; i < COUNT_OF(ranges); i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

/* Appends the first character of `text`, a byte that is not UTF-8 as '?', and returns how many bytes it took. */
static size_t append_character(struct buf *line, struct str text)
{
    uint32_t code;
    size_t len = str_utf8_first(text, &code);
    if (len == 0)
        buf_append_char(line, '?');
    else if (code == '"' || code == '\\')
        buf_printf(line, "\\%c", (char)code);
    else if (code == '\n')
        buf_append_text(line, "\\n");
    else if (is_steering(code))
        buf_printf(line, "\\u%04x", (unsigned)code);
    else
        buf_append(line, text.data, len);
    return len ? len : 1;
}

/* Appends text inside quotes, cut when it is long: JSON's escapes, which a text line can bear too. */
static void append_quoted(struct buf *line, struct str text)
{
    buf_append_char(line, '"');
    size_t begin = line->len;
    while (text.len > 0 && line->len - begin < VALUE_MAX && !line->failed)
        text = str_skip(text, append_character(line, text));
    buf_append_text(line, text.len > 0 ? "…\"" : "\"");
}

/* Short, and stands for itself without quotes. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return text.len > 0 && text.len <= VALUE_MAX;
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
    cleanup_buf struct buf line = { 0 };        /* values are cut, so that no caller can make a line too long to be written */
    char time[28];
    clock_format_iso(clock_wall_us(), time);
    if (atomic_load_explicit(&as_json, memory_order_relaxed))
        append_json(&line, level, time, message, fields);
    else
        append_text(&line, level, time, message, fields);
    if (!line.failed && write(STDERR_FILENO, line.data, line.len) < 0)
        return;     /* nobody reads the log; there is nowhere else to say so */
}
