/* Random bytes, taken from the kernel a page at a time per thread: a request id costs no system call. Bytes given out are wiped
 * from the buffer. */
#include "base/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static void fill_from_kernel(unsigned char *out, size_t len)
{
    while (len > 0) {
        ssize_t got = getrandom(out, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fputs("terminals: the kernel gives no random bytes\n", stderr);
            abort();
        }
        out += got;
        len -= (size_t)got;
    }
}

void random_bytes(void *out, size_t len)
{
    static _Thread_local unsigned char stock[1024];
    static _Thread_local size_t left;
    if (len > sizeof stock / 4) {
        fill_from_kernel(out, len);
        return;
    }
    if (left < len) {
        fill_from_kernel(stock, sizeof stock);
        left = sizeof stock;
    }
    left -= len;
    memcpy(out, stock + left, len);
    explicit_bzero(stock + left, len);
}

void random_uuid4(char out[static 37])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[16];
    random_bytes(bytes, sizeof bytes);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    char *to = out;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = hex[bytes[i] >> 4];
        *to++ = hex[bytes[i] & 15];
    }
    *to = '\0';
}

char *random_token(size_t count)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = (count * 8 + 5) / 6;
    unsigned char *bytes = xcalloc(count + 2, 1);
    random_bytes(bytes, count);
    char *text = xmalloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        size_t bit = i * 6;
        unsigned pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        text[i] = alphabet[pair >> (10 - bit % 8) & 63];
    }
    text[len] = '\0';
    explicit_bzero(bytes, count);
    free(bytes);
    return text;
}

char *random_alphanumeric(size_t count)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *text = xmalloc(count + 1);
    for (size_t i = 0; i < count;) {
        unsigned char byte;
        random_bytes(&byte, 1);
        if (byte < 4 * (sizeof alphabet - 1))       /* the rest would favour the first letters */
            text[i++] = alphabet[byte % (sizeof alphabet - 1)];
    }
    text[count] = '\0';
    return text;
}
