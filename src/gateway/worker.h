/* One thread, one epoll, and everything that belongs to it. Nothing here is shared: other threads reach a worker by its mailbox. */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include <pthread.h>

#include "base/mailbox.h"
#include "gateway/config.h"
#include "gateway/gateway.h"
#include "gateway/limits.h"
#include "gateway/routes.h"
#include "gateway/stats.h"
#include "gateway/stream.h"
#include "gateway/timer.h"
#include "http/head.h"

#define SCRATCH_SIZE 65536u

struct client;

/* Memory that events of the running batch may still name; freed after the batch. */
struct burial {
    struct list node;
    void *object;
};

struct worker {
    struct gateway *gateway;
    const struct gateway_options *options;
    unsigned index;
    pthread_t thread;
    int epoll_fd;
    struct stream listener;         /* level-triggered, as is the mailbox */
    struct stream letters;
    struct mailbox *mailbox;
    bool draining, stopping;
    bool turning_away;              /* who connects now came after the end had begun */
    bool listener_paused;

    int64_t now_ms;                 /* monotonic, of this batch */
    struct timers timers;
    struct timer sweep;             /* looks for withdrawn routes once a second */
    struct timer resume_listener;
    struct list clients;            /* every client */
    struct list again;              /* streams to be called without an event */
    struct list graveyard;

    char *scratch;                  /* SCRATCH_SIZE bytes that the current read went to */
    struct client *borrower;        /* whose unused input lies in the scratch buffer, or NULL */
    struct str borrowed;
    struct buf out;                 /* the head being written */
    struct http_request request;    /* the head parsed last; its parts point into the input of the client in hand */
    struct http_response response;
    struct route_match match;       /* of `request` */

    struct config *config;          /* a reference to the settings in force */
    struct policy_snapshot *policies;
    uint64_t policies_generation;
    struct map lanes;               /* the worker's own table of routes, by terminal key */
    struct list lane_list;
    struct stats *stats;
    int64_t next_refresh_ms;        /* of stale documents */
};

/* NULL when the kernel or memory refuses. `listen_fd` is taken over. */
struct worker *worker_new(struct gateway *gateway, const struct gateway_options *options, unsigned index, int listen_fd,
                          struct error *err) MUST_CHECK;
/* Before start or after its thread has ended. */
void worker_free(struct worker *worker);
void *worker_run(void *worker);

/* Registers the stream for everything, edge-triggered. */
bool worker_watch(struct worker *worker, struct stream *stream) MUST_CHECK;
/* Calls stream->ready() once more before the worker sleeps. */
void worker_call_again(struct worker *worker, struct stream *stream);
void worker_bury(struct worker *worker, struct burial *burial, void *object);
/* The worker's buffer for the head about to be written, empty. Until the next call. */
struct buf *worker_out(struct worker *worker);
/* The policies in force; lives until the worker sleeps next. */
const struct policy_snapshot *worker_policies(struct worker *worker);

/* Letters that the gateway posts: close the listener and let requests end; stop now. */
void worker_post_drain(struct worker *worker);
void worker_post_stop(struct worker *worker);

#endif
