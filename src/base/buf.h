/* A growing byte buffer with a limit. Zero-initialised is empty and without limit. One owner, no locking. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/str.h"

struct buf {
    char *data;             /* owned; NULL while nothing was appended */
    size_t len;
    size_t cap;
    size_t limit;           /* longest length allowed; 0 = none */
    bool failed;            /* an append did not fit or memory ran out; later appends do nothing */
};

#define cleanup_buf __attribute__((cleanup(buf_free)))

/* All appends return false, and set `failed`, when the limit or memory is exceeded. */
bool buf_append(struct buf *buf, const void *data, size_t len);
bool buf_append_str(struct buf *buf, struct str s);
bool buf_append_text(struct buf *buf, const char *text);
bool buf_append_char(struct buf *buf, char c);
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
bool buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Room for `len` more bytes at the end; NULL on failure. Follow with `buf->len += written`. */
char *buf_reserve(struct buf *buf, size_t len);
/* Removes the first `len` bytes. */
void buf_consume(struct buf *buf, size_t len);
static inline struct str buf_str(const struct buf *buf) { return (struct str){ buf->data, buf->len }; }
/* The contents as a NUL-terminated string that the caller frees; the buffer is empty afterwards. */
char *buf_take(struct buf *buf) MUST_CHECK;
void buf_free(struct buf *buf);

#endif
