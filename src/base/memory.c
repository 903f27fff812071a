/* Allocation for the control plane. Running out of memory there is not an error that anyone could handle better than by
 * starting again, so these end the process; the gateway does not use them. */
#include <stdarg.h>

#include "base/defs.h"
#include "base/str.h"

void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "terminals: internal error: %s does not hold (%s:%d)\n", condition, file, line);
    abort();
}

static void *checked(void *memory)
{
    if (memory)
        return memory;
    fputs("terminals: out of memory\n", stderr);
    abort();
}

void *xmalloc(size_t size) { return checked(malloc(size ? size : 1)); }
void *xcalloc(size_t count, size_t size) { return checked(calloc(count ? count : 1, size ? size : 1)); }
void *xrealloc(void *memory, size_t size) { return checked(realloc(memory, size ? size : 1)); }
char *xstrdup(const char *text) { return checked(strdup(text)); }
char *xstrndup(const char *text, size_t len) { return checked(strndup(text, len)); }

void xreplace(char **place, const char *text)
{
    char *copy = text ? xstrdup(text) : NULL;

    free(*place);
    *place = copy;
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    return checked(len < 0 ? NULL : text);
}
