#include "base/error.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *name;
    const char *reason;
    int status;
    bool temporary;
} classes[ERR_CLASS_COUNT] = {
    [ERR_NONE] = { "none", NULL, 200, false },
    [ERR_INVALID] = { "invalid", NULL, 400, false },
    [ERR_UNPROCESSABLE] = { "unprocessable", NULL, 422, false },
    [ERR_UNAUTHORIZED] = { "unauthorized", NULL, 401, false },
    [ERR_FORBIDDEN] = { "forbidden", NULL, 403, false },
    [ERR_NOT_FOUND] = { "not_found", NULL, 404, false },
    [ERR_CONFLICT] = { "conflict", NULL, 409, false },
    [ERR_LIMIT] = { "limit_reached", "limit_reached", 503, true },
    [ERR_TIMEOUT] = { "timeout", "backend_unavailable", 503, true },
    [ERR_UNAVAILABLE] = { "backend_unavailable", "backend_unavailable", 503, true },
    [ERR_IMAGE_NOT_FOUND] = { "image_not_found", "image_not_found", 503, true },
    [ERR_IMAGE_NOT_ALLOWED] = { "image_not_allowed", "image_not_allowed", 422, false },
    [ERR_NO_CAPACITY] = { "no_capacity", "no_capacity", 503, true },
    [ERR_UNSCHEDULABLE] = { "unschedulable", "unschedulable", 503, true },
    [ERR_START_TIMEOUT] = { "start_timeout", "start_timeout", 503, true },
    [ERR_GUEST_CRASHED] = { "guest_crashed", "guest_crashed", 503, true },
    [ERR_STARTING] = { "starting", "starting", 503, true },
    [ERR_INVALID_POLICY] = { "invalid_policy", "invalid_policy", 422, false },
    [ERR_IO] = { "io", "backend_unavailable", 503, true },
    [ERR_INTERNAL] = { "internal", "backend_unavailable", 503, true },
};

/* Ends `text` before a character that the buffer's end cut in two. */
static void cut_at_character(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (want > 1 && len - (start - 1) < want)
        text[start - 1] = '\0';
}

static void set_text(struct error *err, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void set_text(struct error *err, const char *format, va_list args)
{
    int len = vsnprintf(err->text, sizeof err->text, format, args);
    if (len >= (int)sizeof err->text)
        cut_at_character(err->text, sizeof err->text - 1);
}

int error_set(struct error *err, enum error_class class, const char *format, ...)
{
    if (!err)
        return -1;
    err->class = class;
    va_list args;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    return -1;
}

int error_wrap(struct error *err, const char *format, ...)
{
    if (!err)
        return -1;
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    size_t len = strlen(err->text);
    int added = snprintf(err->text + len, sizeof err->text - len, ": %s", inner);
    if (added >= (int)(sizeof err->text - len))
        cut_at_character(err->text, sizeof err->text - 1);
    return -1;
}

int error_set_errno(struct error *err, enum error_class class, int number, const char *format, ...)
{
    if (!err)
        return -1;
    err->class = class;
    va_list args;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    size_t len = strlen(err->text);
    char reason[128];
    snprintf(err->text + len, sizeof err->text - len, ": %s", strerror_r(number, reason, sizeof reason));
    return -1;
}

int error_http_status(enum error_class class) { return classes[class].status; }
const char *error_reason(enum error_class class) { return classes[class].reason; }
const char *error_class_name(enum error_class class) { return classes[class].name; }
bool error_is_temporary(enum error_class class) { return classes[class].temporary; }
