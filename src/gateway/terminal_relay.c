/* Frames both ways. They pass as they are, masked by the client's own keys; a follower on each direction knows where frames begin, what
 * is activity and when a close frame has gone by. */
#include "base/random.h"
#include "gateway/terminal_socket.h"
#include "gateway/upstream.h"

#define READ_BUDGET 16
#define EARLY_MAX 65536u
#define CLOSE_MS 2000

/* --- before the guest is there ---------------------------------------------------------------------------------------- */

bool terminal_answer_ping(struct client *client, struct str payload)
{
    cleanup_buf struct buf frame = { 0 };

    if (ws_append_frame(&frame, WS_PONG, payload, NULL) && stream_write_str(&client->stream, buf_str(&frame)))
        return true;
    client_close(client);
    return false;
}

/* Looks at bytes that stay in the input until the guest is there. False: the client has ended. */
static bool follow_early(struct client *client, struct str data)
{
    struct terminal_socket *socket = client->socket;
    struct ws_seen seen = { 0 };
    size_t good = 0;
    bool fine = true;

    for (struct str rest = data; rest.len > 0 && fine && !seen.close; rest = str_skip(rest, good)) {
        seen = (struct ws_seen){ .stop_at_ping = true };
        fine = ws_follow(&socket->from_client, rest, &good, &seen);
        /* The guest answers it again, later: this one is for clients that take silence for death. */
        if (fine && seen.ping && !terminal_answer_ping(client, seen.ping_payload))
            return false;
    }
    if (seen.close)
        terminal_socket_end(client, seen.close_code == 1005 ? 1000 : seen.close_code, "");
    else if (!fine)
        terminal_socket_end(client, 1002, "Malformed frame");
    return fine && !seen.close;
}

bool terminal_relay_early(struct client *client)
{
    struct worker *worker = client->worker;
    struct terminal_socket *socket = client->socket;

    /* What came together with the auth frame. */
    if (!socket->early_seen) {
        socket->early_seen = true;
        if (client->in.len > 0 && !follow_early(client, buf_str(&client->in)))
            return false;
    }
    while (client->stream.readable && client->in.len < EARLY_MAX) {
        ssize_t got = stream_read(&client->stream, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            break;
        if (got < 0 || !buf_append(&client->in, worker->scratch, (size_t)got)) {
            client_close(client);
            return false;
        }
        if (!follow_early(client, str_of(worker->scratch, (size_t)got)))
            return false;
    }
    if (!client->stream.hangup)
        return true;
    client_close(client);
    return false;
}

/* --- open ------------------------------------------------------------------------------------------------------------------ */

/* Writes a close frame to the guest, when the stream stands between two frames. */
static void tell_guest(struct client *client, unsigned code, struct str reason)
{
    cleanup_buf struct buf frame = { 0 };
    unsigned char mask[4];

    if (client->socket->phase != SOCKET_OPEN || client->socket->client_closed || !ws_follower_at_boundary(&client->socket->from_client))
        return;
    random_bytes(mask, sizeof(mask));
    if (ws_append_close(&frame, code, reason, mask) && stream_write_str(&client->upstream->stream, buf_str(&frame)))
        client->socket->client_closed = true;
}

/* A side has gone without a close frame: the other gets one. */
static void side_vanished(struct client *client, bool client_side)
{
    struct terminal_socket *socket = client->socket;

    if (!client_side && socket->guest_closed) {
        client->keep = false;
        client_finish(client);
        return;
    }
    if (!client_side) {
        bool expected = socket->client_closed;      /* the client had said goodbye, the guest has just gone */
        terminal_socket_end(client, expected ? 1000 : 1011, expected ? "" : "Terminal connection lost");
        return;
    }
    tell_guest(client, 1001, STR_LITERAL("Client has gone"));
    client_close(client);
}

static bool relay(struct client *client, bool client_side);

/* The guest takes nothing more; what it said before, its close frame perhaps, may still be there to read. */
static void guest_turned_deaf(struct client *client)
{
    client->upstream->stream.readable = true;
    if (relay(client, false))
        side_vanished(client, false);
}

/* A close frame went by; the other side has two seconds to answer it. */
static void note_close(struct client *client, bool client_side)
{
    struct terminal_socket *socket = client->socket;

    if (client_side)
        socket->client_closed = true;
    else
        socket->guest_closed = true;
    timer_set(&client->worker->timers, &client->timer, client->worker->now_ms + CLOSE_MS);
}

/* Passes on bytes of one side. False: all is over. */
static bool pass_on(struct client *client, bool client_side, struct str data)
{
    struct terminal_socket *socket = client->socket;
    struct stream *to = client_side ? &client->upstream->stream : &client->stream;
    struct ws_follower *follower = client_side ? &socket->from_client : &socket->from_guest;
    struct ws_seen seen = { 0 };
    size_t good = 0;
    bool whole = ws_follower_at_boundary(follower);
    bool fine = ws_follow(follower, data, &good, &seen);

    /* The malformed frame is not passed on: where it began the other side still stands between frames, and can be told. */
    if (!fine && (whole || good > 0))
        ws_follow_init(follower, client_side);
    if (seen.binary || (!client_side && seen.text))
        route_touch(client->lane->route, client->worker->now_ms);
    if (client_side)
        client->bytes_in += good;
    else
        client->bytes_out += good;
    if (good > 0 && !stream_write_str(to, str_of(data.data, good))) {
        if (client_side)
            guest_turned_deaf(client);
        else
            side_vanished(client, true);
        return false;
    }
    if (seen.close)
        note_close(client, client_side);
    if (fine)
        return true;
    terminal_socket_end(client, client_side ? 1002 : 1011, "Malformed frame");
    return false;
}

/* False: all is over. */
static bool relay(struct client *client, bool client_side)
{
    struct worker *worker = client->worker;
    struct terminal_socket *socket = client->socket;
    struct stream *from = client_side ? &client->stream : &client->upstream->stream;
    struct stream *to = client_side ? &client->upstream->stream : &client->stream;
    const bool *closed = client_side ? &socket->client_closed : &socket->guest_closed;

    if (stream_has_output(to) && to->writable && !stream_flush(to)) {
        if (client_side)
            guest_turned_deaf(client);
        else
            side_vanished(client, true);
        return false;
    }
    for (unsigned reads = 0; from->readable && !*closed && !stream_has_output(to); reads++) {
        if (reads == READ_BUDGET) {
            worker_call_again(worker, from);
            break;
        }
        ssize_t got = stream_read(from, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            break;
        if (got < 0) {
            side_vanished(client, client_side);
            return false;
        }
        if (!pass_on(client, client_side, str_of(worker->scratch, (size_t)got)))
            return false;
    }
    return true;
}

void terminal_relay_run(struct client *client)
{
    struct terminal_socket *socket = client->socket;

    if (!relay(client, true) || !relay(client, false))
        return;
    bool both_closed = socket->client_closed && socket->guest_closed;
    bool guest_gone = socket->guest_closed && client->upstream->stream.hangup;
    if ((both_closed || guest_gone) && !stream_has_output(&client->stream) && !stream_has_output(&client->upstream->stream)) {
        client->keep = false;
        client_finish(client);
        client_run(client);
    } else if (socket->client_closed && client->stream.hangup) {
        client_close(client);
    } else if (client->stream.hangup && stream_has_output(&client->upstream->stream) && !socket->leaving) {
        socket->leaving = true;
        timer_set(&client->worker->timers, &client->timer, client->worker->now_ms + CLOSE_MS);
    }
}

void terminal_relay_begin(struct client *client, struct str early)
{
    struct terminal_socket *socket = client->socket;
    struct worker *worker = client->worker;

    if (!terminal_relay_early(client))
        return;
    socket->phase = SOCKET_OPEN;
    socket->counted = true;
    timer_clear(&client->timer);
    atomic_fetch_add(&client->lane->route->websockets, 1);
    route_leave(client->lane->route, worker->now_ms);       /* from here on the socket is counted, and idle when it is quiet */
    client->entered = false;
    stats_websocket(worker->stats, 1);
    struct str input = buf_str(&client->in);
    bool sent = stream_write_str(&client->upstream->stream, input);
    client_consume(client, input.len);
    if (!sent) {
        guest_turned_deaf(client);
        return;
    }
    if (early.len > 0 && !pass_on(client, false, early))
        return;
    terminal_relay_run(client);
}

/* --- the end ------------------------------------------------------------------------------------------------------------------ */

void terminal_socket_end(struct client *client, unsigned code, const char *reason)
{
    struct terminal_socket *socket = client->socket;
    cleanup_buf struct buf frame = { 0 };

    if (code != 1000)
        stats_socket_closed(client->worker->stats, code);
    tell_guest(client, 1001, STR_LITERAL(""));
    if (!socket->guest_closed && ws_follower_at_boundary(&socket->from_guest) &&
        (!ws_append_close(&frame, code, str_from(reason), NULL) || !stream_write_str(&client->stream, buf_str(&frame)))) {
        client_close(client);
        return;
    }
    client->keep = false;
    client_finish(client);
}
