#include "base/buf.h"

static bool fail(struct buf *buf)
{
    buf->failed = true;
    return false;
}

/* Makes room for `len` more bytes and a NUL after them. */
static bool grow(struct buf *buf, size_t len)
{
    size_t need;
    if (buf->failed || __builtin_add_overflow(buf->len, len, &need) || need == SIZE_MAX)
        return fail(buf);
    if (buf->limit && need > buf->limit)
        return fail(buf);
    if (need + 1 <= buf->cap)
        return true;
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need + 1)
        cap = cap > SIZE_MAX / 2 ? need + 1 : cap * 2;
    char *data = realloc(buf->data, cap);
    if (!data)
        return fail(buf);
    buf->data = data;
    buf->cap = cap;
    return true;
}

char *buf_reserve(struct buf *buf, size_t len) { return grow(buf, len) ? buf->data + buf->len : NULL; }

bool buf_append(struct buf *buf, const void *data, size_t len)
{
    if (!grow(buf, len))
        return false;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return true;
}

bool buf_append_str(struct buf *buf, struct str s) { return buf_append(buf, s.data, s.len); }
bool buf_append_text(struct buf *buf, const char *text) { return buf_append(buf, text, strlen(text)); }
bool buf_append_char(struct buf *buf, char c) { return buf_append(buf, &c, 1); }

bool buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0 || !grow(buf, (size_t)len))
        return fail(buf);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    buf->len += (size_t)len;
    return true;
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = buf_vprintf(buf, format, args);
    va_end(args);
    return ok;
}

void buf_consume(struct buf *buf, size_t len)
{
    if (len >= buf->len) {
        buf->len = 0;
        return;
    }
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
}

char *buf_take(struct buf *buf)
{
    if (!buf->data)
        buf->data = xmalloc(1);
    buf->data[buf->len] = '\0';
    char *text = buf->data;
    *buf = (struct buf){ .limit = buf->limit };
    return text;
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){ .limit = buf->limit };
}
