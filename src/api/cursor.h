/* The place after a terminal in the list that is sorted by user, policy and context. */
#ifndef API_CURSOR_H
#define API_CURSOR_H

#include "backend/key.h"

/* Opaque to clients, safe in a header and in a query; the caller frees. It stays good when the terminal that it names goes. */
char *cursor_after(const struct terminal_key *key) MUST_CHECK;
/* NULL: that is no cursor of ours. The caller frees with terminal_key_free(). */
struct terminal_key *cursor_read(struct str text) MUST_CHECK;
/* Whether `key` comes after `place` in the list. */
bool key_is_after(const struct terminal_key *key, const struct terminal_key *place);

#endif
