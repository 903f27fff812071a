/* Random bytes from the kernel, and what we make of them. Any thread. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include "base/defs.h"

/* Fills `out`. Ends the process when the kernel gives none. Buffered per thread: cheap enough for every request. */
void random_bytes(void *out, size_t len);
/* A version 4 UUID in lower case, NUL-terminated. */
void random_uuid4(char out[static 37]);
/* `count` random bytes in URL-safe base64 without padding; the caller frees. */
char *random_token(size_t count) MUST_CHECK;
/* `count` characters from [A-Za-z0-9]; the caller frees. */
char *random_alphanumeric(size_t count) MUST_CHECK;

#endif
