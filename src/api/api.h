/* The control plane: every handler of /api/v1, and the guests' documents that are served without a user. Plain blocking code that runs on
 * pool threads; the gateway has read the whole request and checked the admin key before. */
#ifndef API_API_H
#define API_API_H

#include "auth/auth.h"
#include "fleet/fleet.h"
#include "policy/policy.h"
#include "settings/settings.h"
#include "store/store.h"

struct api_request {
    struct str method, path;            /* path as received, still percent-encoded, without the query */
    struct str query;                   /* without '?' */
    struct str content_type;
    bool has_content_type;
    struct str body;
};

struct api_response {
    int status;
    const char *content_type;           /* a literal */
    const char *allow;                  /* a literal for the Allow header (405), or NULL */
    unsigned retry_after_s;             /* 0: no such header */
    char *next_cursor;                  /* owned; value of the X-Next-Cursor header, or NULL: there is no further page */
    struct buf body;
};
void api_response_clear(struct api_response *response);

struct api;

struct api_options {
    const struct settings *settings;    /* must outlive the api until api_reconfigure() gives another */
    struct store *store;
    struct policies *policies;
    struct fleet *fleet;
    const char *backend_name;
};

struct api *api_new(const struct api_options *options) MUST_CHECK;
void api_free(struct api *api);
/* New settings after SIGHUP: caps, images, idle time, image. Publishes a new policy snapshot. */
void api_reconfigure(struct api *api, const struct settings *settings);

/* Answers one request whose path begins with "/api/v1/". Blocks. Always fills `response`; the caller clears it. */
void api_handle(struct api *api, const struct api_request *request, struct api_response *response);

/* Reads policies and lifecycles from the store, builds a snapshot and publishes it. Called at start and by the handlers after each write. */
int api_publish_policies(struct store *store, struct policies *policies, const struct settings *settings, struct error *err)
    MUST_CHECK;

#endif
