/* Calls to the Docker Engine API. The API version is negotiated at the first call and again when the engine says that it does not fit any
 * more (it was exchanged while we ran). Any thread, several at once; every call blocks. */
#ifndef BACKEND_DOCKER_ENGINE_H
#define BACKEND_DOCKER_ENGINE_H

#include "backend/docker/address.h"
#include "base/buf.h"
#include "base/json.h"

struct engine;

/* Takes the address over. */
struct engine *engine_new(struct engine_address *address) MUST_CHECK;
void engine_free(struct engine *engine);
const struct engine_address *engine_where(const struct engine *engine);

/* For metrics and messages. */
enum engine_operation {
    ENGINE_PING, ENGINE_VERSION, ENGINE_INFO, ENGINE_EVENTS,
    ENGINE_CONTAINER_LIST, ENGINE_CONTAINER_CREATE, ENGINE_CONTAINER_START, ENGINE_CONTAINER_UNPAUSE, ENGINE_CONTAINER_STOP, ENGINE_CONTAINER_REMOVE,
    ENGINE_CONTAINER_INSPECT, ENGINE_CONTAINER_LOGS,
    ENGINE_IMAGE_INSPECT, ENGINE_IMAGE_PULL,
    ENGINE_NETWORK_LIST, ENGINE_NETWORK_INSPECT, ENGINE_NETWORK_CREATE, ENGINE_NETWORK_CONNECT, ENGINE_NETWORK_REMOVE,
    ENGINE_VOLUME_INSPECT, ENGINE_VOLUME_CREATE, ENGINE_VOLUME_REMOVE,
    ENGINE_OPERATION_COUNT
};

struct engine_request {
    enum engine_operation operation;
    const char *method;
    const char *path;                   /* from behind the version: "/containers/json?all=1" */
    const json_t *body;                 /* or NULL */
    const char *registry_auth;          /* value of X-Registry-Auth, or NULL */
    int64_t timeout_ms;                 /* 0: 30 s; negative: none */
    int64_t stall_timeout_ms;           /* 0: none */
    /* Streaming, as in http/client.h. */
    bool (*on_data)(void *context, struct str data);
    bool (*cancelled)(void *context);
    void *context;
};

struct engine_answer {
    int status;                         /* 0: there was no answer */
    json_t *json;                       /* NULL when there is none; owned */
    struct buf raw;                     /* the body where it is no JSON; owned */
};
void engine_answer_clear(struct engine_answer *answer);
#define cleanup_engine_answer __attribute__((cleanup(engine_answer_clear)))

/* Success is 2xx and 304. Otherwise the error's text holds the engine's own message and the class follows from both:
 * ERR_NOT_FOUND, ERR_CONFLICT, ERR_INVALID, ERR_NO_CAPACITY, ERR_UNAVAILABLE, ERR_TIMEOUT. `answer->status` tells the rest. */
int engine_call(struct engine *engine, const struct engine_request *request, struct engine_answer *answer, struct error *err) MUST_CHECK;

/* The service ends: every call that still runs then, or begins later, is given up (ERR_TIMEOUT), so that an engine that hangs does not hold
 * up the end. What it leaves half-made is what a crash would leave. */
void engine_end_calls(struct engine *engine, int64_t within_ms);

/* The version spoken, such as "1.41"; "" before the first answer. */
void engine_api_version(struct engine *engine, char version[static 16]);

/* --- pure, for tests ------------------------------------------------------------------------------------------ */

/* Which version to speak with an engine that offers `api` and takes `minimum` ("" = unknown) at the least. ERR_UNAVAILABLE when there is none
 * that both know. */
int engine_choose_version(const char *api, const char *minimum, char version[static 16], struct error *err) MUST_CHECK;
/* The error of an answer that is no success. */
int engine_map_error(enum engine_operation operation, int status, const char *message, struct error *err);
/* Whether a "not found" is about a network: the word stands alone in such messages ("network x not found"), and never in the reference of an image. */
bool engine_misses_network(const char *message);
const char *engine_operation_name(enum engine_operation operation);

#endif
