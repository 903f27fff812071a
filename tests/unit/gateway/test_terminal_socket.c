/* The WebSocket of a terminal: every close code of §2.7, the auth frames, the relay, the end from either side. */
#include "stand_in.h"

#define UPGRADE "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define AUTH "{\"type\":\"auth\",\"token\":\"key\"}"

static const unsigned char mask[4] = { 1, 2, 3, 4 };

static void say_bytes(int fd, struct str data)
{
    assert_int_equal(send(fd, data.data, data.len, MSG_NOSIGNAL), data.len);
}

static void say_frame(int fd, enum ws_opcode opcode, const char *payload, bool masked)
{
    cleanup_buf struct buf frame = { 0 };
    assert_true(ws_append_frame(&frame, opcode, str_from(payload), masked ? mask : NULL));
    say_bytes(fd, buf_str(&frame));
}

static void say_close(int fd, unsigned code, const char *reason, bool masked)
{
    cleanup_buf struct buf frame = { 0 };
    assert_true(ws_append_close(&frame, code, str_from(reason), masked ? mask : NULL));
    say_bytes(fd, buf_str(&frame));
}

static void hear_bytes(int fd, void *out, size_t len)
{
    for (size_t have = 0; have < len; ) {
        ssize_t got = recv(fd, (char *)out + have, len - have, 0);
        if (got <= 0)
            fail_msg("the peer %s inside a frame", got == 0 ? "closed" : "fell silent");
        have += (size_t)got;
    }
}

/* One frame of at most 64 KiB, unmasked, NUL-terminated, in a static buffer. */
static const char *hear_frame(int fd, bool from_client, enum ws_opcode *opcode, size_t *len)
{
    static char payload[70000];
    unsigned char head[2], key[4] = { 0 };
    hear_bytes(fd, head, 2);
    *opcode = (enum ws_opcode)(head[0] & 15);
    *len = head[1] & 127;
    if (*len == 126) {
        unsigned char more[2];
        hear_bytes(fd, more, 2);
        *len = (size_t)(more[0] << 8 | more[1]);
    }
    assert_int_equal((head[1] & 128) != 0, from_client);
    if (from_client)
        hear_bytes(fd, key, 4);
    hear_bytes(fd, payload, *len);
    ws_unmask(payload, *len, key);
    payload[*len] = '\0';
    return payload;
}

static void expect_frame(int fd, bool from_client, enum ws_opcode opcode, const char *expected)
{
    enum ws_opcode seen;
    size_t len;
    const char *payload = hear_frame(fd, from_client, &seen, &len);
    assert_int_equal(seen, opcode);
    assert_string_equal(payload, expected);
}

static void expect_close(int fd, bool from_client, unsigned code, const char *reason)
{
    enum ws_opcode opcode;
    size_t len;
    const char *payload = hear_frame(fd, from_client, &opcode, &len);
    if (opcode != WS_CLOSE)
        fail_msg("a close frame was expected instead of \"%s\"", payload);
    assert_true(len >= 2);
    unsigned seen = (unsigned)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
    if (seen != code || strcmp(payload + 2, reason) != 0)
        fail_msg("close %u \"%s\" was expected instead of %u \"%s\"", code, reason, seen, payload + 2);
}

/* An accepted socket of a client. `more` are further header lines. */
static int socket_open_with(const char *target, const char *more)
{
    char request[4000];
    int fd = client_connect();
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" UPGRADE "%s\r\n", target, more);
    say(fd, request);
    const char *head = hear_head(fd);
    assert_has(head, "HTTP/1.1 101 ");
    assert_has(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    assert_has(head, "X-Request-Id: ");
    assert_has_not(head, "Sec-WebSocket-Extensions");
    assert_has_not(head, "Sec-WebSocket-Protocol");
    return fd;
}

static int socket_open(const char *target)
{
    return socket_open_with(target, "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: tty\r\n");
}

/* The guest's answer to a good handshake. */
static void guest_agree(int guest, const char *head)
{
    char accept[29], answer[300];
    const char *key = strstr(head, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    ws_accept_key(str_of(key + 19, 24), accept);
    (void)snprintf(answer, sizeof(answer), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    say(guest, answer);
}

static int join_guest(const char *auth_frame)
{
    int guest = guest_accept();
    guest_agree(guest, hear_head(guest));
    expect_frame(guest, true, WS_TEXT, auth_frame);
    return guest;
}

static void await_websockets(int count)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(&fleet.route->websockets) != count; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&fleet.route->websockets), count);
}

#define GUEST_AUTH "{\"type\":\"auth\",\"token\":\"guest-key\"}"

/* A socket that is open on both sides. */
static void open_both(int *client, int *guest)
{
    *client = socket_open("/api/terminals/abcd1234?user_id=alice");
    say_frame(*client, WS_TEXT, AUTH, true);
    *guest = join_guest(GUEST_AUTH);
    await_websockets(1);
}

/* --- close codes ------------------------------------------------------------------------------------------------------ */

static void every_refusal_has_its_code_and_reason(void **state)
{
    static const struct {
        const char *name, *target, *headers;
        enum ws_opcode opcode;
        const char *frame;
        unsigned code;
        const char *reason;
    } rows[] = {
        { "another type", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"x\"}", 4001, "Expected auth message" },
        { "no type", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{}", 4001, "Expected auth message" },
        { "not JSON", "/api/terminals/x?user_id=alice", "", WS_TEXT, "hello", 4001, "Auth timeout or invalid payload" },
        { "not an object", "/api/terminals/x?user_id=alice", "", WS_TEXT, "[]", 4001, "Auth failed" },
        { "binary", "/api/terminals/x?user_id=alice", "", WS_BINARY, AUTH, 4001, "Auth failed" },
        { "token of a wrong type", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"auth\",\"token\":1}", 4001, "Auth failed" },
        { "no token", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"auth\"}", 4001, "Invalid API key" },
        { "wrong key", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"auth\",\"token\":\"no\"}", 4001, "Invalid API key" },
        { "no user", "/api/terminals/x", "", WS_TEXT, AUTH, 4002, "Missing user_id" },
        { "empty user", "/api/terminals/x?user_id=", "", WS_TEXT, AUTH, 4002, "Missing user_id" },
        { "wrong key before no user", "/api/terminals/x", "", WS_TEXT, "{\"type\":\"auth\",\"token\":\"no\"}", 4001, "Invalid API key" },
        { "two users", "/api/terminals/x?user_id=alice&user_id=alice", "", WS_TEXT, AUTH, 4002, "user_id was sent more than once" },
        { "two contexts", "/api/terminals/x?user_id=alice&context_id=chat:1&context_id=chat:1", "", WS_TEXT, AUTH, 4002,
          "context_id was sent more than once" },
        { "two context headers", "/api/terminals/x?user_id=alice", "X-Terminal-Context-Id: chat:1\r\nX-Terminal-Context-Id: chat:2\r\n",
          WS_TEXT, AUTH, 4002, "context_id was sent more than once" },
        { "user that cannot be decoded", "/api/terminals/x?user_id=%zz", "", WS_TEXT, AUTH, 4002, "user_id cannot be decoded" },
        { "NUL in the user", "/api/terminals/x?user_id=a%00b", "", WS_TEXT, AUTH, 4002, "user_id cannot be decoded" },
        { "two user headers", "/api/terminals/x?user_id=alice", "X-User-Id: alice\r\nX-User-Id: alice\r\n", WS_TEXT, AUTH, 4002,
          "user_id was sent more than once" },
        { "user differs", "/api/terminals/x?user_id=alice", "X-User-Id: bob\r\n", WS_TEXT, AUTH, 4002, "X-User-Id and user_id differ" },
        { "reserved user", "/api/terminals/x?user_id=system", "", WS_TEXT, AUTH, 4002, "The user id 'system' is reserved" },
        { "token of another", "/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"auth\",\"token\":\"slow-bob\"}", 4003,
          "user_id does not match authenticated identity" },
        { "policy unknown", "/p/nope/api/terminals/x?user_id=alice", "", WS_TEXT, AUTH, 4004, "Policy 'nope' not found" },
        { "policy of others", "/p/closed/api/terminals/x?user_id=alice", "", WS_TEXT, "{\"type\":\"auth\",\"token\":\"slow-alice\"}", 4003,
          "Not allowed to use policy 'closed'" },
        { "bad context", "/api/terminals/x?user_id=alice&context_id=foo", "", WS_TEXT, AUTH, 4004,
          "only chat and automation contexts are supported" },
        { "header's context wins", "/api/terminals/x?user_id=alice&context_id=chat:1", "X-Terminal-Context-Id: foo\r\n", WS_TEXT, AUTH, 4004,
          "only chat and automation contexts are supported" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int client = socket_open_with(rows[i].target, rows[i].headers);
        print_message("             %s\n", rows[i].name);
        say_frame(client, rows[i].opcode, rows[i].frame, true);
        expect_close(client, false, rows[i].code, rows[i].reason);
        say_close(client, rows[i].code, "", true);
        hear_end(client);
        (void)close(client);
    }
}

static void token_mode_says_invalid_token(void **state)
{
    mode = AUTH_OPEN_WEBUI;
    static const char *const tokens[] = { "rubbish", "slow-down" };
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        char frame[100];
        int client = socket_open("/api/terminals/x?user_id=alice");
        (void)snprintf(frame, sizeof(frame), "{\"type\":\"auth\",\"token\":\"%s\"}", tokens[i]);
        say_frame(client, WS_TEXT, frame, true);
        expect_close(client, false, 4001, "Invalid token");
        (void)close(client);
    }
}

static void silence_for_ten_seconds_is_the_end(void **state)
{
    int client = socket_open("/api/terminals/x?user_id=alice");
    struct timeval patience = { .tv_sec = 12 };
    (void)setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    int64_t began = clock_monotonic_ms();
    expect_close(client, false, 4001, "Auth timeout or invalid payload");
    assert_in_range(clock_monotonic_ms() - began, 9500, 11000);
    (void)close(client);
}

static void start_that_fails_is_4003(void **state)
{
    fleet.refusal = ERR_IMAGE_NOT_FOUND;
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    expect_close(client, false, 4003, "Failed to resolve terminal instance");
    (void)close(client);
}

static void unreachable_guest_is_tried_five_times(void **state)
{
    (void)close(guest_listener);
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    int64_t began = clock_monotonic_ms();
    expect_close(client, false, 4003, "Terminal instance not reachable");
    assert_in_range(clock_monotonic_ms() - began, 3900, 6000);
    assert_int_equal(fleet.suspects, 5);
    (void)close(client);
    guest_listener = listen_somewhere();
}

static void unknown_session_is_not_tried_again(void **state)
{
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    expect_close(client, false, 4004, "Session not found");
    assert_false(guest_is_dialled(1200));
    (void)close(client);
    (void)close(guest);
}

static void bad_handshakes_are_refused(void **state)
{
    expect_answer("GET /api/terminals/x?user_id=alice HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 426, NULL);
    expect_answer("GET /api/terminals/x?user_id=alice HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n", 400, NULL);
    expect_answer("GET /api/terminals/x?user_id=alice HTTP/1.1\r\nContent-Length: 5\r\n" UPGRADE "\r\nhello", 400, NULL);
    expect_answer("GET /api/terminals/x?user_id=alice HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" UPGRADE "\r\n0\r\n\r\n", 400, NULL);
}

/* Told from the header: nothing of that size is waited for or kept. */
static void auth_frame_that_is_too_long_is_refused(void **state)
{
    static const unsigned char whole[] = { 0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4 };       /* 64 KiB and one byte */
    static const unsigned char first[] = { 0x01, 0xfe, 0xff, 0xff, 0, 0, 0, 0 }, rest[] = { 0x80, 0xfe, 0xff, 0xff, 0, 0, 0, 0 };
    static char filling[0xffff];
    int client = socket_open("/api/terminals/x?user_id=alice");

    say_bytes(client, str_of((const char *)whole, sizeof(whole)));
    expect_close(client, false, 4001, "Auth failed");
    (void)close(client);
    client = socket_open("/api/terminals/x?user_id=alice");
    say_bytes(client, str_of((const char *)first, sizeof(first)));
    say_bytes(client, str_of(filling, sizeof(filling)));
    say_bytes(client, str_of((const char *)rest, sizeof(rest)));
    say_bytes(client, str_of(filling, sizeof(filling)));
    expect_close(client, false, 4001, "Auth failed");
    (void)close(client);
}

/* Nobody makes us answer pings for ever, or keep the answers that are not read. */
static void pings_before_authentication_have_an_end(void **state)
{
    cleanup_buf struct buf pings = { 0 };
    int client = socket_open("/api/terminals/x?user_id=alice");

    for (int i = 0; i < 65; i++)
        (void)ws_append_frame(&pings, i % 2 ? WS_PONG : WS_PING, STR_LITERAL("p"), mask);
    say_bytes(client, buf_str(&pings));
    for (int i = 0; i < 64; i += 2)
        expect_frame(client, false, WS_PONG, "p");
    expect_close(client, false, 4001, "Auth failed");
    (void)close(client);
}

static void an_empty_user_header_names_nobody(void **state)
{
    int client = socket_open_with("/api/terminals/abcd1234?user_id=alice", "X-User-Id:\r\n");
    say_frame(client, WS_TEXT, AUTH, true);
    int guest = join_guest(GUEST_AUTH);
    (void)close(client);
    (void)close(guest);
}

static void what_a_guest_says_before_it_agrees_is_skipped(void **state)
{
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    int guest = guest_accept();
    cleanup_free char *head = strdup(hear_head(guest));
    say(guest, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
    usleep(20000);
    guest_agree(guest, head);
    expect_frame(guest, true, WS_TEXT, GUEST_AUTH);
    (void)close(guest);
    expect_close(client, false, 1011, "Terminal connection lost");
    (void)close(client);
}

static void a_guest_that_only_talks_before_is_a_failed_try(void **state)
{
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    int guest = guest_accept();
    (void)hear_head(guest);
    for (int i = 0; i < 17; i++)
        say(guest, "HTTP/1.1 103 Early Hints\r\n\r\n");
    hear_end(guest);
    (void)close(guest);
    (void)close(client);
}

static void unauthenticated_sockets_are_limited_per_address(void **state)
{
    stop_gateway();
    settings.max_unauthenticated_websockets_per_address = 2;
    start_gateway();
    int first = socket_open("/api/terminals/x?user_id=alice"), second = socket_open("/api/terminals/x?user_id=alice");
    expect_answer("GET /api/terminals/x?user_id=alice HTTP/1.1\r\n" UPGRADE "\r\n", 503, NULL);
    say_frame(first, WS_TEXT, AUTH, true);
    int guest = join_guest(GUEST_AUTH);
    int third = socket_open("/api/terminals/x?user_id=alice");
    (void)close(second);
    usleep(50000);
    int fourth = socket_open("/api/terminals/x?user_id=alice");
    (void)close(first);
    (void)close(third);
    (void)close(fourth);
    (void)close(guest);
}

/* --- whose session (open-webui.md, rule 4) ------------------------------------------------------------------------------- */

static void session_owner_goes_to_the_guest(void **state)
{
    static const struct { const char *name, *headers, *frame, *header_out, *auth_out; } rows[] = {
        { "header", "X-Session-Id: chat-1\r\nX-User-Id: alice\r\n", "{\"type\":\"auth\",\"token\":\"key\",\"chat_id\":\"other\"}",
          "X-Session-Id: chat-1\r\n", "{\"type\":\"auth\",\"token\":\"guest-key\",\"chat_id\":\"chat-1\"}" },
        { "empty header", "X-Session-Id: \r\n", "{\"type\":\"auth\",\"token\":\"key\",\"chat_id\":\"other\"}",
          "X-Session-Id: \r\n", "{\"type\":\"auth\",\"token\":\"guest-key\",\"chat_id\":\"\"}" },
        { "chat id", "", "{\"type\":\"auth\",\"token\":\"key\",\"chat_id\":\"a\\\"b\"}",
          "X-Session-Id: a\"b\r\n", "{\"type\":\"auth\",\"token\":\"guest-key\",\"chat_id\":\"a\\\"b\"}" },
        { "chat id that no header can carry", "", "{\"type\":\"auth\",\"token\":\"key\",\"chat_id\":\"a\\r\\nX-Evil: 1\"}",
          NULL, "{\"type\":\"auth\",\"token\":\"guest-key\",\"chat_id\":\"a\\u000d\\u000aX-Evil: 1\"}" },
        { "what the POST carried", "", AUTH, "X-Session-Id: remembered\r\n",
          "{\"type\":\"auth\",\"token\":\"guest-key\",\"chat_id\":\"remembered\"}" },
    };
    route_remember_session(fleet.route, str_from("abcd"), str_from("remembered"), true);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("             %s\n", rows[i].name);
        int client = socket_open_with("/api/terminals/abcd?user_id=alice", rows[i].headers);
        say_frame(client, WS_TEXT, rows[i].frame, true);
        int guest = guest_accept();
        cleanup_free char *head = strdup(hear_head(guest));
        assert_has(head, "GET /api/terminals/abcd HTTP/1.1\r\n");
        assert_has_not(head, "X-User-Id");
        assert_has_not(head, "Extensions");
        assert_has_not(head, "X-Evil");
        if (rows[i].header_out)
            assert_has(head, rows[i].header_out);
        else
            assert_has_not(head, "X-Session-Id");
        guest_agree(guest, head);
        expect_frame(guest, true, WS_TEXT, rows[i].auth_out);
        (void)close(client);
        (void)close(guest);
    }
}

/* --- the relay ------------------------------------------------------------------------------------------------------------- */

static void frames_pass_and_only_some_are_activity(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    atomic_store(&fleet.route->last_active_ms, 1);
    say_frame(client, WS_TEXT, "{\"type\":\"ping\"}", true);
    expect_frame(guest, true, WS_TEXT, "{\"type\":\"ping\"}");
    say_frame(client, WS_PING, "p", true);
    expect_frame(guest, true, WS_PING, "p");
    say_frame(guest, WS_PONG, "p", false);
    expect_frame(client, false, WS_PONG, "p");
    assert_int_equal(atomic_load(&fleet.route->last_active_ms), 1);
    say_frame(client, WS_BINARY, "ls", true);
    expect_frame(guest, true, WS_BINARY, "ls");
    assert_true(atomic_load(&fleet.route->last_active_ms) > 1);
    atomic_store(&fleet.route->last_active_ms, 1);
    say_frame(guest, WS_BINARY, "a b c", false);
    expect_frame(client, false, WS_BINARY, "a b c");
    assert_true(atomic_load(&fleet.route->last_active_ms) > 1);
    assert_int_equal(atomic_load(&fleet.route->active_requests), 0);
    (void)close(client);
    (void)close(guest);
}

static void keys_typed_before_the_guest_is_there_arrive(void **state)
{
    fleet.starts_late = true;
    cleanup_buf struct buf early = { 0 };
    int client = socket_open("/api/terminals/x?user_id=alice");
    (void)ws_append_frame(&early, WS_TEXT, STR_LITERAL(AUTH), mask);
    (void)ws_append_frame(&early, WS_TEXT, STR_LITERAL("{\"type\":\"resize\"}"), mask);
    say_bytes(client, buf_str(&early));
    struct waiter *waiter = await_waiter();
    say_frame(client, WS_BINARY, "typed", true);
    waiter->post(waiter, route_ref(fleet.route), NULL);
    int guest = join_guest(GUEST_AUTH);
    expect_frame(guest, true, WS_TEXT, "{\"type\":\"resize\"}");
    expect_frame(guest, true, WS_BINARY, "typed");
    (void)close(client);
    (void)close(guest);
}

static void pings_are_answered_while_the_terminal_starts(void **state)
{
    fleet.starts_late = true;
    cleanup_buf struct buf early = { 0 };
    int client = socket_open("/api/terminals/x?user_id=alice");
    (void)ws_append_frame(&early, WS_TEXT, STR_LITERAL(AUTH), mask);
    (void)ws_append_frame(&early, WS_PING, STR_LITERAL("one"), mask);
    (void)ws_append_frame(&early, WS_PING, STR_LITERAL(""), mask);
    say_bytes(client, buf_str(&early));
    expect_frame(client, false, WS_PONG, "one");
    expect_frame(client, false, WS_PONG, "");
    early.len = 0;
    (void)ws_append_frame(&early, WS_PING, STR_LITERAL("in two halves"), mask);
    say_bytes(client, str_of(early.data, 9));
    usleep(20000);
    say_bytes(client, str_skip(buf_str(&early), 9));
    expect_frame(client, false, WS_PONG, "in two halves");
    struct waiter *waiter = await_waiter();
    waiter->post(waiter, route_ref(fleet.route), NULL);
    int guest = join_guest(GUEST_AUTH);
    expect_frame(guest, true, WS_PING, "one");
    (void)close(client);
    (void)close(guest);
}

static void client_that_closes_while_starting_is_forgotten(void **state)
{
    fleet.starts_late = true;
    int client = socket_open("/api/terminals/x?user_id=alice");
    say_frame(client, WS_TEXT, AUTH, true);
    struct waiter *waiter = await_waiter();
    say_close(client, 1001, "", true);
    expect_close(client, false, 1001, "");
    waiter->post(waiter, route_ref(fleet.route), NULL);
    assert_false(guest_is_dialled(100));
    (void)close(client);
}

static void large_frames_pass(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    static char big[60001];
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 20; i++) {
        say_frame(guest, WS_BINARY, big, false);
        expect_frame(client, false, WS_BINARY, big);
    }
    (void)close(client);
    (void)close(guest);
}

static void auth_frame_may_come_in_pieces(void **state)
{
    int client = socket_open("/api/terminals/x?user_id=alice");
    cleanup_buf struct buf first = { 0 }, second = { 0 };
    (void)ws_append_frame(&first, WS_TEXT, STR_LITERAL("{\"type\":\"auth\","), mask);
    first.data[0] = 1;                      /* text, not final */
    (void)ws_append_frame(&second, WS_CONTINUATION, STR_LITERAL("\"token\":\"key\"}"), mask);
    say_bytes(client, buf_str(&first));
    say_frame(client, WS_PING, "z", true);
    expect_frame(client, false, WS_PONG, "z");
    for (size_t i = 0; i < second.len; i++)
        say_bytes(client, str_of(second.data + i, 1));
    int guest = join_guest(GUEST_AUTH);
    (void)close(client);
    (void)close(guest);
}

/* --- the end --------------------------------------------------------------------------------------------------------------- */

static void guests_close_reaches_the_client(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    say_close(guest, 4009, "Already attached", false);
    expect_close(client, false, 4009, "Already attached");
    say_close(client, 4009, "", true);
    expect_close(guest, true, 4009, "");
    (void)close(guest);
    hear_end(client);
    (void)close(client);
    await_websockets(0);
}

static void clients_close_reaches_the_guest(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    say_close(client, 1000, "bye", true);
    expect_close(guest, true, 1000, "bye");
    say_close(guest, 1000, "", false);
    expect_close(client, false, 1000, "");
    hear_end(guest);
    (void)close(guest);
    hear_end(client);
    (void)close(client);
    await_websockets(0);
}

static void close_that_is_not_answered_ends_in_two_seconds(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    say_close(client, 1000, "", true);
    expect_close(guest, true, 1000, "");
    int64_t began = clock_monotonic_ms();
    hear_end(guest);
    assert_in_range(clock_monotonic_ms() - began, 1800, 3500);
    expect_close(client, false, 1000, "");
    (void)close(client);
    (void)close(guest);
    await_websockets(0);
}

static void guest_that_goes_instead_of_answering_a_close_is_no_error(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    say_close(client, 1000, "", true);
    expect_close(guest, true, 1000, "");
    (void)close(guest);
    expect_close(client, false, 1000, "");
    hear_end(client);
    (void)close(client);
}

static void guest_that_closes_amid_a_long_frame_is_heard(void **state)
{
    static char keys[1 << 20];
    int client, guest;
    open_both(&client, &guest);
    static const unsigned char head[] = { 0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 2, 3, 4 };     /* 256 MiB */
    say_bytes(client, str_of((const char *)head, sizeof(head)));
    while (send(client, keys, sizeof(keys), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        usleep(2000);                       /* until everything between is full */
    say_close(guest, 1009, "too long", false);
    (void)close(guest);                     /* with unread input: a reset */
    expect_close(client, false, 1009, "too long");
    (void)close(client);
}

static void client_that_vanishes_ends_the_guests_session(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    (void)close(client);
    expect_close(guest, true, 1001, "Client has gone");
    hear_end(guest);
    (void)close(guest);
    await_websockets(0);
}

static void client_that_vanishes_behind_much_input_is_noticed(void **state)
{
    static char keys[16384];
    int client, guest, little = 4096, full = 0;
    ssize_t sent;
    size_t total = 0;
    open_both(&client, &guest);
    cleanup_buf struct buf frame = { 0 };
    (void)setsockopt(client, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
    (void)ws_append_frame(&frame, WS_BINARY, str_of(keys, sizeof(keys)), mask);
    while (full < 50) {                     /* until everything between is full */
        sent = send(client, frame.data + total % frame.len, frame.len - total % frame.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        full = sent > 0 ? 0 : full + 1;
        if (sent > 0)
            total += (size_t)sent;
        else
            usleep(2000);
    }
    (void)close(client);
    /* Its end comes behind what it had still to send: there has to be room for that. */
    cleanup_free char *taken = xmalloc(total / 2);
    assert_int_equal(recv(guest, taken, total / 2, MSG_WAITALL), total / 2);
    await_websockets(0);
    (void)close(guest);
}

static void guest_that_vanishes_ends_the_client(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    (void)close(guest);
    expect_close(client, false, 1011, "Terminal connection lost");
    hear_end(client);
    (void)close(client);
    await_websockets(0);
}

static void stopped_terminal_closes_its_sockets(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    atomic_store(&fleet.route->withdrawn, true);
    expect_close(client, false, 1001, "Terminal stopped");
    expect_close(guest, true, 1001, "");
    (void)close(client);
    (void)close(guest);
}

static void malformed_frames_end_both_sides(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    say_frame(client, WS_TEXT, "not masked", false);
    expect_close(client, false, 1002, "Malformed frame");
    expect_close(guest, true, 1001, "");
    (void)close(client);
    (void)close(guest);
    open_both(&client, &guest);
    say_frame(guest, WS_TEXT, "masked", true);
    expect_close(client, false, 1011, "Malformed frame");
    (void)close(client);
    (void)close(guest);
}

static void *drain(void *argument)
{
    gateway_drain(gateway, 3000);
    return NULL;
}

static void draining_closes_with_1001(void **state)
{
    int client, guest;
    open_both(&client, &guest);
    pthread_t thread;
    pthread_create(&thread, NULL, drain, NULL);
    expect_close(client, false, 1001, "Service is stopping");
    say_close(client, 1001, "", true);
    hear_end(client);
    (void)close(client);
    pthread_join(thread, NULL);
    (void)close(guest);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(every_refusal_has_its_code_and_reason), ROW(token_mode_says_invalid_token), ROW(silence_for_ten_seconds_is_the_end),
        ROW(start_that_fails_is_4003), ROW(unreachable_guest_is_tried_five_times), ROW(unknown_session_is_not_tried_again),
        ROW(bad_handshakes_are_refused), ROW(auth_frame_that_is_too_long_is_refused), ROW(unauthenticated_sockets_are_limited_per_address), ROW(session_owner_goes_to_the_guest),
        ROW(pings_before_authentication_have_an_end), ROW(an_empty_user_header_names_nobody), ROW(what_a_guest_says_before_it_agrees_is_skipped),
        ROW(a_guest_that_only_talks_before_is_a_failed_try), ROW(pings_are_answered_while_the_terminal_starts),
        ROW(client_that_vanishes_behind_much_input_is_noticed),
        ROW(frames_pass_and_only_some_are_activity), ROW(keys_typed_before_the_guest_is_there_arrive),
        ROW(client_that_closes_while_starting_is_forgotten), ROW(large_frames_pass), ROW(auth_frame_may_come_in_pieces),
        ROW(guests_close_reaches_the_client), ROW(clients_close_reaches_the_guest), ROW(close_that_is_not_answered_ends_in_two_seconds),
        ROW(guest_that_goes_instead_of_answering_a_close_is_no_error), ROW(guest_that_closes_amid_a_long_frame_is_heard), ROW(client_that_vanishes_ends_the_guests_session), ROW(guest_that_vanishes_ends_the_client),
        ROW(stopped_terminal_closes_its_sockets), ROW(malformed_frames_end_both_sides), ROW(draining_closes_with_1001),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
