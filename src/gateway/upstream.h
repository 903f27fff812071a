/* One connection to a guest: being made, busy with one client, or idle in its lane. Owner: one worker. */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include "gateway/lane.h"

struct upstream {
    struct stream stream;
    struct worker *worker;
    struct lane *lane;
    struct client *client;          /* NULL while idle */
    struct list node;               /* in lane->idle */
    struct timer timer;             /* its end while idle */
    int64_t idle_since_ms;
    bool connected;
    bool reused;                    /* had an exchange before this one */
    struct buf in;                  /* a response head that has not come whole */
    size_t scanned;
    struct burial burial;
};

/* An idle connection that may be used for the method, or NULL. Guests drop idle connections after 5 s: one is used again for 4 s, for methods
 * that must not be repeated for 2 s and after a look whether it is still open. */
struct upstream *upstream_take_idle(struct lane *lane, struct client *client, bool repeatable) MUST_CHECK;
/* Begins a new connection. NULL when it cannot even be begun. */
struct upstream *upstream_dial(struct worker *worker, struct lane *lane, struct client *client) MUST_CHECK;
/* Puts it back after a whole exchange. */
void upstream_keep(struct upstream *upstream);
void upstream_close(struct upstream *upstream);
/* For the ready callback while connecting: 1 connected, 0 not yet, -1 failed. */
int upstream_check_connected(struct upstream *upstream) MUST_CHECK;

#endif
