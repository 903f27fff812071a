/* Who calls, and may he (orchestrator.md §2.2). The checks of keys and of cached tokens never block; a token that is not in the cache is
 * verified by a blocking call to Open WebUI on a pool thread. Any thread. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/error.h"
#include "base/str.h"
#include "settings/settings.h"

struct auth;

struct auth *auth_new(const struct settings *settings) MUST_CHECK;
void auth_free(struct auth *auth);
/* Takes the API keys, the Open WebUI URL and the cache time from newly read settings. Open mode is chosen at the start only: whoever is not
 * open does not become so, whatever `settings->open` says, and who is stays so until a key or a URL is given. ERR_INVALID, and nothing
 * changes, when nobody could get in any more. */
int auth_reconfigure(struct auth *auth, const struct settings *settings, struct error *err) MUST_CHECK;

enum auth_mode { AUTH_OPEN_WEBUI, AUTH_API_KEY, AUTH_OPEN };
enum auth_mode auth_mode(struct auth *auth);
/* The mode that a service begins in with these settings. */
enum auth_mode auth_mode_at_start(const struct settings *settings);

/* The caller as proven. */
struct identity {
    bool trusted;           /* an API key or open mode: the user id that the request names is believed */
    char user_id[257];      /* else: the token's owner */
    char email[321];        /* "" when not known */
    char role[33];          /* "" when not known */
};

enum auth_result {
    AUTH_OK,                /* `identity` is filled */
    AUTH_DENIED,            /* `err` is filled: class gives the status, text the `detail` of §2.2 */
    AUTH_PENDING,           /* ask auth_verify_token() on a thread that may block */
};

/* Data plane, from the Authorization header's value (`present` false: there is none). */
enum auth_result auth_check_header(struct auth *auth, struct str authorization, bool present, struct identity *identity,
                                   struct error *err) MUST_CHECK;
/* Data plane, from a bare token (the WebSocket's auth frame). */
enum auth_result auth_check_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
    MUST_CHECK;
/* Blocks up to 10 s (twice when the first address refuses with 403): asks Open WebUI, caches, gives AUTH_OK or AUTH_DENIED
 * (ERR_UNAUTHORIZED, ERR_FORBIDDEN for a wrong role, ERR_UNAVAILABLE "Failed to reach Open WebUI" = 502). Concurrent calls for the same
 * token share one request. */
enum auth_result auth_verify_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
    MUST_CHECK;
/* The bare token of an Authorization header's value that is well-formed. False otherwise. */
bool auth_bearer_token(struct str authorization, struct str *token);

/* Control plane and /metrics. Never pending. */
enum auth_result auth_check_admin(struct auth *auth, struct str authorization, bool present, struct error *err) MUST_CHECK;

/* The key for `terminals serve` when none was given: read from `<state_dir>/api-key`, or made (24 random bytes, URL-safe base64, mode 0600).
 * `*made` tells which. The caller frees with secret_free(). */
int auth_load_or_make_key(const char *state_dir, char **key, bool *made, struct error *err) MUST_CHECK;

#endif
