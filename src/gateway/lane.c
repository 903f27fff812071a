/* Lanes are made on the first use of a route, and go when it is withdrawn or nobody used it for a while. A withdrawn lane is taken out of
 * the map at once, so that the next request asks the fleet again; its memory goes with its last user. */
#include "gateway/client.h"
#include "gateway/lane.h"
#include "gateway/upstream.h"

#define UNUSED_MS 60000

/* The map's key: three texts that hold no NUL. False when they do not fit. */
static bool lane_key(const struct terminal_key *key, char *out, size_t size, struct str *result)
{
    size_t user = strlen(key->user_id) + 1, policy = strlen(key->policy_id) + 1, context = strlen(key->context_id);
    if (user + policy + context > size)
        return false;
    memcpy(out, key->user_id, user);
    memcpy(out + user, key->policy_id, policy);
    memcpy(out + user + policy, key->context_id, context);
    *result = str_of(out, user + policy + context);
    return true;
}

static void lane_unlist(struct worker *worker, struct lane *lane)
{
    char text[2048];
    struct str key;

    if (lane->listed && lane_key(lane->route->key, text, sizeof(text), &key))
        (void)map_remove(&worker->lanes, key);
    lane->listed = false;
}

struct lane *lane_find(struct worker *worker, const struct terminal_key *key)
{
    char text[2048];
    struct str map_key;

    if (!lane_key(key, text, sizeof(text), &map_key))
        return NULL;
    struct lane *lane = map_get(&worker->lanes, map_key);
    if (!lane)
        return NULL;
    if (route_is_withdrawn(lane->route)) {
        lane_unlist(worker, lane);
        return NULL;
    }
    lane->used_ms = worker->now_ms;
    return lane;
}

static void write_host(struct lane *lane)
{
    const struct endpoint *endpoint = &lane->route->endpoint;

    if (endpoint->address.ss_family == AF_UNIX || endpoint->host[0] == '\0')
        (void)snprintf(lane->host, sizeof(lane->host), "localhost");
    else if (endpoint->address.ss_family == AF_INET6 && strchr(endpoint->host, ':'))
        (void)snprintf(lane->host, sizeof(lane->host), "[%s]:%u", endpoint->host, endpoint->port);
    else
        (void)snprintf(lane->host, sizeof(lane->host), "%s:%u", endpoint->host, endpoint->port);
}

struct lane *lane_add(struct worker *worker, struct route *route)
{
    char text[2048];
    struct str key;
    struct lane *lane = calloc(1, sizeof(*lane));

    if (!lane || !lane_key(route->key, text, sizeof(text), &key)) {
        free(lane);
        route_unref(route);
        return NULL;
    }
    lane->route = route;
    lane->used_ms = worker->now_ms;
    list_init(&lane->idle);
    list_init(&lane->sockets);
    write_host(lane);
    list_append(&worker->lane_list, &lane->node);
    struct lane *former = map_put(&worker->lanes, key, lane);
    lane->listed = true;
    if (former)
        former->listed = false;
    if (worker->sweep.deadline_ms == 0)
        timer_set(&worker->timers, &worker->sweep, worker->now_ms + 1000);
    return lane;
}

void lane_hold(struct lane *lane)
{
    lane->users++;
}

void lane_release(struct lane *lane)
{
    ASSERT(lane->users > 0);
    lane->users--;          /* its memory goes with the next sweep */
}

static void lane_close_idle(struct lane *lane)
{
    for (struct list *node; (node = list_first(&lane->idle)) != NULL; )
        upstream_close(LIST_ENTRY(node, struct upstream, node));
}

static void lane_free(struct worker *worker, struct lane *lane)
{
    lane_close_idle(lane);
    lane_unlist(worker, lane);
    list_remove(&lane->node);
    route_unref(lane->route);
    free(lane);
}

void lanes_sweep(struct worker *worker, void (*withdrawn)(struct client *client))
{
    LIST_FOR_EACH_SAFE(node, &worker->lane_list) {
        struct lane *lane = LIST_ENTRY(node, struct lane, node);
        bool gone = route_is_withdrawn(lane->route);
        if (gone) {
            lane_unlist(worker, lane);
            lane_close_idle(lane);
            for (struct list *socket; (socket = list_first(&lane->sockets)) != NULL; ) {
                list_remove(socket);
                withdrawn(LIST_ENTRY(socket, struct client, lane_node));
            }
        }
        bool unused = !lane->listed || (lane->idle_count == 0 && worker->now_ms - lane->used_ms > UNUSED_MS);
        if (lane->users == 0 && (gone || unused))
            lane_free(worker, lane);
    }
}

void lanes_free(struct worker *worker)
{
    for (struct list *node; (node = list_first(&worker->lane_list)) != NULL; ) {
        struct lane *lane = LIST_ENTRY(node, struct lane, node);
        ASSERT(lane->users == 0);
        lane_free(worker, lane);
    }
    map_free(&worker->lanes, NULL);
}
