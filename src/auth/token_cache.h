/* What was learnt about tokens, under their SHA-256: the tokens themselves are never kept. Bounded, the oldest entries go first. No
 * locking of its own. Of use only inside this module. */
#ifndef AUTH_TOKEN_CACHE_H
#define AUTH_TOKEN_CACHE_H

#include "auth/auth.h"

#define TOKEN_DIGEST_LEN 32

struct token_cache;

struct token_cache *token_cache_new(void) MUST_CHECK;
void token_cache_free(struct token_cache *cache);
void token_cache_clear(struct token_cache *cache);

enum token_cache_answer { TOKEN_UNKNOWN, TOKEN_ACCEPTED, TOKEN_REFUSED };

/* `identity` is filled for TOKEN_ACCEPTED. `now_ms` is monotonic. */
enum token_cache_answer token_cache_find(struct token_cache *cache, const unsigned char digest[static TOKEN_DIGEST_LEN],
                                         int64_t now_ms, struct identity *identity);
/* `identity` NULL: refused. Refused tokens have a room of their own, so that rubbish cannot push out what is good. */
void token_cache_put(struct token_cache *cache, const unsigned char digest[static TOKEN_DIGEST_LEN],
                     const struct identity *identity, int64_t expires_ms);

#endif
