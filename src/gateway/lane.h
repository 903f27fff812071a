/* A worker's own view of one route: the counted reference, idle connections to the guest, and the sockets that end with it. Found by
 * the terminal's key without a lock. */
#ifndef GATEWAY_LANE_H
#define GATEWAY_LANE_H

#include "gateway/worker.h"

struct upstream;

struct lane {
    struct list node;               /* in worker->lane_list */
    struct route *route;            /* our reference */
    bool listed;                    /* in worker->lanes under the key */
    unsigned users;                 /* clients that hold it */
    struct list idle;               /* upstreams, the one used last first */
    unsigned idle_count;
    struct list sockets;            /* terminal sockets and tunnels over it: client->lane_node */
    int64_t used_ms;
    char host[280];                 /* for the Host field */
};

/* The lane of a route that is in force, or NULL. */
struct lane *lane_find(struct worker *worker, const struct terminal_key *key) MUST_CHECK;
/* Takes the reference to `route` over, whatever happens. NULL: no memory. */
struct lane *lane_add(struct worker *worker, struct route *route) MUST_CHECK;
void lane_hold(struct lane *lane);
void lane_release(struct lane *lane);
/* Drops lanes that are withdrawn or unused, and calls `withdrawn` for each socket of a withdrawn one. */
void lanes_sweep(struct worker *worker, void (*withdrawn)(struct client *client));
/* At the end of the worker: nobody holds a lane any more. */
void lanes_free(struct worker *worker);

#endif
