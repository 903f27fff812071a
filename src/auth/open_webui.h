/* Asks Open WebUI whose a token is (orchestrator.md §2.2, open-webui.md rule 7). Blocking. Of use only inside this module. */
#ifndef AUTH_OPEN_WEBUI_H
#define AUTH_OPEN_WEBUI_H

#include "auth/auth.h"
#include "http/client.h"

/* A token's owner, and until when the token lives at most. */
struct token_owner {
    struct identity identity;
    int64_t expires_s;          /* seconds since 1970; 0: not known */
};

enum token_verdict {
    TOKEN_GENUINE,              /* `owner` is filled */
    TOKEN_REJECTED,             /* certainly not valid; `err` is filled */
    TOKEN_UNDECIDED,            /* refused for another reason, or nobody could be asked; `err` is filled */
};

/* `token` is printable ASCII. At most two calls of 10 s each. */
enum token_verdict open_webui_verify(struct http_client *client, const char *url, struct str token, struct token_owner *owner,
                                     struct error *err) MUST_CHECK;

#endif
