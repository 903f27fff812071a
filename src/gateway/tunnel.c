/* A tunnel reads from one side only while the other has taken everything: back-pressure without any accounting. The end of
 * one side is passed on as such (half-close); the tunnel is over when both have ended. Every byte is activity. */
#include "gateway/answer.h"
#include "gateway/proxy_head.h"
#include "gateway/tunnel.h"
#include "gateway/upstream.h"

#define READ_BUDGET 16

struct tunnel {
    bool client_ended, guest_ended;
};

static void tunnel_upstream_ready(struct stream *stream)
{
    tunnel_run(CONTAINER_OF(stream, struct upstream, stream)->client);
}

static bool write_switching(struct client *client, struct str early)
{
    struct worker *worker = client->worker;
    struct buf *out = worker_out(worker);

    append_response_start(out, client, 101, worker->response.reason);
    proxy_append_response_fields(out, &worker->response, true);
    buf_append_str(out, STR_LITERAL("\r\n"));
    struct iovec parts[2] = { { out->data, out->len }, { (void *)early.data, early.len } };
    return !out->failed && stream_write(&client->stream, parts, 2);
}

void tunnel_begin(struct client *client, struct str early)
{
    struct upstream *upstream = client->upstream;
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));

    if (!tunnel || !write_switching(client, early)) {
        free(tunnel);
        client_close(client);
        return;
    }
    client->tunnel = tunnel;
    client->status = 101;
    client->response_started = true;
    client->phase = CLIENT_TUNNEL;
    timer_clear(&client->timer);
    upstream->stream.ready = tunnel_upstream_ready;
    stream_set_keep_alive(client->stream.fd);
    stream_set_keep_alive(upstream->stream.fd);
    atomic_fetch_add(&client->lane->route->websockets, 1);
    route_leave(client->lane->route, client->worker->now_ms);
    client->entered = false;
    stats_websocket(client->worker->stats, 1);
    struct str input = client_input(client);
    bool sent = stream_write_str(&upstream->stream, input);
    client_consume(client, input.len);
    if (sent)
        worker_call_again(client->worker, &client->stream);
    else
        client_close(client);
}

void tunnel_free(struct client *client)
{
    atomic_fetch_sub(&client->lane->route->websockets, 1);
    stats_websocket(client->worker->stats, -1);
    free(steal(&client->tunnel));
}

/* False: the tunnel broke. */
static bool pump(struct client *client, struct stream *from, struct stream *to, bool *ended)
{
    struct worker *worker = client->worker;

    if (stream_has_output(to) && to->writable && !stream_flush(to))
        return false;
    for (unsigned reads = 0; from->readable && !*ended && !stream_has_output(to); reads++) {
        if (reads == READ_BUDGET) {
            worker_call_again(worker, from);
            break;
        }
        ssize_t got = stream_read(from, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            break;
        if (got == STREAM_ERROR)
            return false;
        if (got == STREAM_EOF) {
            *ended = true;
            (void)shutdown(to->fd, SHUT_WR);
            break;
        }
        route_touch(client->lane->route, worker->now_ms);
        if (from == &client->stream)
            client->bytes_in += (uint64_t)got;
        else
            client->bytes_out += (uint64_t)got;
        if (!stream_write_str(to, str_of(worker->scratch, (size_t)got)))
            return false;
    }
    return true;
}

void tunnel_run(struct client *client)
{
    struct tunnel *tunnel = client->tunnel;
    struct stream *guest = &client->upstream->stream;

    if (!pump(client, &client->stream, guest, &tunnel->client_ended) ||
        !pump(client, guest, &client->stream, &tunnel->guest_ended) ||
        (tunnel->client_ended && tunnel->guest_ended && !stream_has_output(guest) && !stream_has_output(&client->stream))) {
        client_close(client);
        return;
    }
    /* A side that has ended is not read any more: that it will not take anything either is known by this alone. */
    if ((tunnel->client_ended && client->stream.broken) || (tunnel->guest_ended && guest->broken))
        client_close(client);
}
