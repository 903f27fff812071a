/* From who calls and what is asked to the terminal's key: the checks of orchestrator.md §1, §2.2 and §2.6.1 in their order. Pure functions. */
#ifndef GATEWAY_IDENTITY_H
#define GATEWAY_IDENTITY_H

#include "auth/auth.h"
#include "backend/key.h"
#include "gateway/routes.h"
#include "policy/policy.h"

#define POLICY_ID_SIZE 513      /* 128 characters */
#define CONTEXT_ID_SIZE 1025    /* 256 characters */

struct caller {
    struct terminal_key key;        /* points at the texts below */
    char user_id[257];
    char policy_id[POLICY_ID_SIZE];
    char context_id[CONTEXT_ID_SIZE];
};

/* The policy that a path names, decoded into `policy_id`, when it exists and the identity may use it. ERR_INVALID (400), ERR_NOT_FOUND,
 * ERR_FORBIDDEN. */
int identity_policy(const struct route_match *match, const struct identity *identity, const struct policy_snapshot *policies,
                    char policy_id[static POLICY_ID_SIZE], struct error *err) MUST_CHECK;
/* All of it for a proxied request. ERR_UNPROCESSABLE: the header X-User-Id is missing. */
int identity_resolve(const struct http_request *request, const struct route_match *match, const struct identity *identity,
                     const struct policy_snapshot *policies, struct caller *caller, struct error *err) MUST_CHECK;
/* That neither identity header was sent twice: two readers could take different ones. */
int identity_check_once(const struct http_request *request, struct error *err) MUST_CHECK;
/* A user id that a client may name: valid, and not the reserved one. */
int identity_check_user(struct str user_id, struct error *err) MUST_CHECK;

#define MISSING_USER_JSON \
    "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"X-User-Id\"],\"msg\":\"Field required\",\"input\":null}]}"

#endif
