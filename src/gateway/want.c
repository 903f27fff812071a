#include "gateway/letter.h"
#include "gateway/want.h"

struct want_letter {
    struct letter letter;
    struct waiter waiter;
    struct route *route;            /* a reference */
    struct error err;
    void (*done)(struct client *client, struct lane *lane, const struct error *err);
};

/* Any thread: the fleet has decided. */
static void want_posted(struct waiter *waiter, struct route *route, const struct error *err)
{
    struct want_letter *want = CONTAINER_OF(waiter, struct want_letter, waiter);
    want->route = route;
    if (!route && err)
        want->err = *err;
    letter_post(&want->letter);
}

static void want_arrived(struct letter *letter, struct client *client)
{
    struct want_letter *want = (struct want_letter *)letter;
    struct route *route = steal(&want->route);
    struct lane *lane = NULL;

    if (route) {
        lane = lane_find(client->worker, route->key);
        if (lane && lane->route == route)
            route_unref(route);
        else
            lane = lane_add(client->worker, route);
        if (!lane)
            error_set(&want->err, ERR_NO_CAPACITY, "Out of memory");
    }
    want->done(client, lane, &want->err);
}

static void want_clear(struct letter *letter)
{
    struct want_letter *want = (struct want_letter *)letter;
    if (want->route)
        route_unref(want->route);
}

static struct want_letter *want_letter(struct client *client,
                                       void (*done)(struct client *client, struct lane *lane, const struct error *err))
{
    struct want_letter *want = letter_new(client->worker, sizeof(*want));
    if (!want)
        return NULL;
    want->letter.arrived = want_arrived;
    want->letter.clear = want_clear;
    want->waiter.post = want_posted;
    want->done = done;
    list_init(&want->waiter.node);
    return want;
}

bool want_terminal(struct client *client, const struct terminal_key *key,
                   void (*done)(struct client *client, struct lane *lane, const struct error *err))
{
    struct want_letter *want = want_letter(client, done);
    struct error err = { 0 };
    struct route *route = NULL;

    if (!want) {
        error_set(&err, ERR_NO_CAPACITY, "Out of memory");
        done(client, NULL, &err);
        return false;
    }
    letter_bind(&want->letter, client);
    switch (fleet_want_terminal(client->worker->options->fleet, key, &want->waiter, &route, &err)) {
    case WANT_WAITING:
        return true;
    case WANT_READY:
        want->route = route;
        client_forget_letter(client);
        want_arrived(&want->letter, client);
        break;
    case WANT_REFUSED:
        client_forget_letter(client);
        done(client, NULL, &err);
        break;
    }
    letter_free(&want->letter);
    return false;
}
