/* Making, keeping and ending of connections to guests. An idle one keeps its registration: a byte or an end that arrives while it
 * waits means that it is of no use any more. */
#include <errno.h>

#include "gateway/client.h"
#include "gateway/dial.h"
#include "gateway/proxy.h"
#include "gateway/upstream.h"

#define REUSE_MS 4000
#define REUSE_ONCE_MS 2000
#define MAX_IDLE_PER_LANE 64

static void idle_ready(struct stream *stream)
{
    if (stream->readable || stream->hangup || stream->failed)
        upstream_close(CONTAINER_OF(stream, struct upstream, stream));
}

static void idle_expired(struct timer *timer)
{
    struct upstream *upstream = CONTAINER_OF(timer, struct upstream, timer);
    if (!upstream->client)
        upstream_close(upstream);
}

static void upstream_unlist(struct upstream *upstream)
{
    list_remove(&upstream->node);
    upstream->lane->idle_count--;
    timer_clear(&upstream->timer);
}

/* Whether the peer has neither closed nor sent anything. */
static bool is_quiet(const struct upstream *upstream)
{
    char byte;
    return recv(upstream->stream.fd, &byte, 1, MSG_PEEK) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

struct upstream *upstream_take_idle(struct lane *lane, struct client *client, bool repeatable)
{
    int64_t now_ms = client->worker->now_ms, oldest = repeatable ? REUSE_MS : REUSE_ONCE_MS;

    for (struct list *node; (node = list_first(&lane->idle)) != NULL; ) {
        struct upstream *upstream = LIST_ENTRY(node, struct upstream, node);
        if (now_ms - upstream->idle_since_ms >= oldest)
            return NULL;            /* the others are older still; for another method they may do */
        if (!repeatable && !is_quiet(upstream)) {
            upstream_close(upstream);
            continue;
        }
        upstream_unlist(upstream);
        upstream->client = client;
        upstream->reused = true;
        upstream->stream.sent = false;
        upstream->stream.ready = proxy_upstream_ready;
        stats_upstream(client->worker->stats, true);
        return upstream;
    }
    return NULL;
}

struct upstream *upstream_dial(struct worker *worker, struct lane *lane, struct client *client)
{
    int fd = dial_start(&lane->route->endpoint);
    if (fd < 0)
        return NULL;
    struct upstream *upstream = calloc(1, sizeof(*upstream));
    if (!upstream) {
        (void)close(fd);
        return NULL;
    }
    upstream->worker = worker;
    upstream->lane = lane;
    upstream->client = client;
    list_init(&upstream->node);
    timer_init(&upstream->timer, idle_expired);
    stream_init(&upstream->stream, fd, proxy_upstream_ready);
    if (!worker_watch(worker, &upstream->stream)) {
        stream_close(&upstream->stream);
        free(upstream);
        return NULL;
    }
    stats_upstream(worker->stats, false);
    return upstream;
}

void upstream_keep(struct upstream *upstream)
{
    struct lane *lane = upstream->lane;
    struct worker *worker = upstream->worker;

    if (worker->draining || route_is_withdrawn(lane->route) || lane->idle_count >= MAX_IDLE_PER_LANE ||
        upstream->stream.hangup || upstream->stream.failed) {
        upstream_close(upstream);
        return;
    }
    upstream->client = NULL;
    list_remove(&upstream->stream.again);
    upstream->stream.ready = idle_ready;
    upstream->scanned = 0;
    upstream->idle_since_ms = worker->now_ms;
    list_prepend(&lane->idle, &upstream->node);
    lane->idle_count++;
    timer_set(&worker->timers, &upstream->timer, worker->now_ms + REUSE_MS);
}

void upstream_close(struct upstream *upstream)
{
    if (!upstream->client)
        upstream_unlist(upstream);
    timer_remove(&upstream->timer);
    stream_close(&upstream->stream);
    buf_free(&upstream->in);
    worker_bury(upstream->worker, &upstream->burial, upstream);
}

int upstream_check_connected(struct upstream *upstream)
{
    if (upstream->connected)
        return 1;
    if (!upstream->stream.writable && !upstream->stream.failed && !upstream->stream.hangup)
        return 0;
    if (dial_result(upstream->stream.fd) != 0 || upstream->stream.failed)
        return -1;
    upstream->connected = true;
    return 1;
}
