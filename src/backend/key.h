/* Who a terminal belongs to, and the names that follow from it (orchestrator.md §1). Pure functions, any thread. */
#ifndef BACKEND_KEY_H
#define BACKEND_KEY_H

#include "base/error.h"
#include "base/str.h"

/* Owned texts, NUL-terminated, checked. Immutable once made. */
struct terminal_key {
    char *user_id, *policy_id, *context_id;
};

struct terminal_key *terminal_key_new(struct str user_id, struct str policy_id, struct str context_id) MUST_CHECK;
struct terminal_key *terminal_key_copy(const struct terminal_key *key) MUST_CHECK;
void terminal_key_free(struct terminal_key *key);
bool terminal_key_equal(const struct terminal_key *a, const struct terminal_key *b);

/* The reserved user whose terminals we start for ourselves. */
#define SYSTEM_USER_ID "system"
#define DEFAULT_POLICY_ID "default"
#define DEFAULT_CONTEXT_ID "default"

/* ERR_INVALID with the reason: empty, too long (256 bytes), not UTF-8, control characters; path-like ("." or ".." segments, a
 * leading '/') and ':' (the row id `user:policy:context` of the database would be ambiguous). */
int user_id_check(struct str user_id, struct error *err) MUST_CHECK;
/* Trims; missing or empty becomes "default"; else the three texts of §1 as ERR_INVALID. `*context_id` points into `given`
 * or at a literal. Over 256 *characters* is too long. */
int context_id_normalise(struct str given, struct str *context_id, struct error *err) MUST_CHECK;

/* First 12 hex digits of SHA-256. */
void key_hash12(const char *text, char out[static 13]);
/* The policy slug of §1 without the suffix that tells unfaithful slugs apart; at most 20 characters. */
void policy_slug(const char *policy_id, char out[static 21]);

/* "<prefix><userhash>[-<slug>[-<6 hex>]][-<ctxhash>]"; `prefix` is "terminals-" on Docker, "terminal-" on Kubernetes. Always a
 * valid DNS-1123 label of at most 63 characters, different for different keys. */
#define TERMINAL_NAME_SIZE 64
void terminal_name(const struct terminal_key *key, const char *prefix, char out[static TERMINAL_NAME_SIZE]);
/* The name that the original program gives; may be the same, may be shared by different keys. */
void terminal_legacy_name(const struct terminal_key *key, const char *prefix, char out[static TERMINAL_NAME_SIZE]);
/* "default", "chat" or "automation". */
const char *context_type(const char *context_id);

/* The label keys of §4.1. */
#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"
#define LABEL_MANAGED_BY_VALUE "terminals"
#define LABEL_USER_ID "openwebui.com/user-id"
#define LABEL_POLICY "openwebui.com/policy"
#define LABEL_CONTEXT_ID "openwebui.com/context-id"
#define LABEL_CONTEXT_TYPE "openwebui.com/context-type"
#define LABEL_CONTEXT_HASH "openwebui.com/context-hash"
#define LABEL_SPEC_HASH "openwebui.com/spec-hash"
/* Whether an object is ours by its value of LABEL_MANAGED_BY; NULL: it has none. */
bool managed_by_us(const char *value);

#endif
