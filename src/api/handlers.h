/* The inside of the control plane: what handlers share, and one handler for each row of orchestrator.md §2.4. */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include <pthread.h>

#include "api/api.h"

struct api {
    pthread_mutex_t changing;           /* held from reading what is stored to publishing what was written */
    const struct settings *settings;    /* under `changing` */
    struct store *store;                /* these are immutable; what they point at locks itself */
    struct policies *policies;
    struct fleet *fleet;
    const char *backend_name;
};

/* One request on its way through its handler. */
struct exchange {
    struct api *api;
    const struct api_request *request;
    const char *policy_id;              /* from the path, decoded and checked; NULL on routes without one */
    struct api_response *response;
};

typedef void handler(struct exchange *exchange);

handler policies_list, policies_create, policies_get, policies_put, policies_patch, policies_delete;
handler lifecycle_get, lifecycle_put;
handler status_get;
handler terminals_list, terminals_stop, terminals_refresh;

static inline void unlock_changing(pthread_mutex_t **place) { if (*place) pthread_mutex_unlock(*place); }
/* Holds api->changing to the end of the block. */
#define HOLD_CHANGING(api) \
    __attribute__((cleanup(unlock_changing))) pthread_mutex_t *changing_ = &(api)->changing; \
    pthread_mutex_lock(changing_)

/* After a write, with `changing` held: publishes the policies and has the fleet look again. */
int api_put_in_force(struct api *api, struct error *err) MUST_CHECK;

#endif
