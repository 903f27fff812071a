/* Hashes and secrets. Any thread. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/str.h"

/* Lower-case hex of SHA-256, NUL-terminated. */
void sha256_hex(struct str data, char out[static 65]);
void sha256_bytes(struct str data, unsigned char out[static 32]);
/* Equal in a time that tells nothing about where they differ; lengths may show. */
bool secret_equal(struct str a, struct str b);
/* What base64 `text` stands for, NUL-terminated, `*len` bytes; the caller frees with secret_free(). NULL when it is none: its length has to be a multiple of
 * four, and nothing else may stand in it. */
char *base64_decode(const char *text, size_t *len) MUST_CHECK;
/* Overwrites and frees a NUL-terminated secret. NULL is allowed. */
void secret_free(char *secret);
static inline void cleanup_secret_pointer(char **place) { secret_free(*place); }
#define cleanup_secret __attribute__((cleanup(cleanup_secret_pointer)))

#endif
