/* HTTP through the gateway: heads, framing, keep-alive, retries, waiting, errors. */
#include "stand_in.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* A request whose head has reached the guest. */
static void ask(int *client, int *guest)
{
    *client = client_connect();
    say(*client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    *guest = guest_accept();
    (void)hear_head(*guest);
}

static void small_get_goes_through_and_keeps_both_connections(void **state)
{
    int client = client_connect();
    say(client, "GET /files/cwd HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "HTTP/1.1 200 OK\r\n");
    hear(client, "hello");
    say(client, "POST /again HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 2\r\n\r\nhi");
    assert_has(hear_head(guest), "POST /again HTTP/1.1\r\n");
    hear(guest, "hi");
    say(guest, OK_HELLO);
    (void)hear_head(client);
    hear(client, "hello");
    (void)close(client);
    (void)close(guest);
}

static void request_head_is_rewritten(void **state)
{
    int client = client_connect();
    say(client, "GET /p/lab/files/a%2Fb%23?x=%00&y HTTP/1.1\r\nHost: public\r\n" ALICE
        "X-Terminal-Context-Id: chat:1\r\nX-Session-Id: s\r\nCookie: a=b\r\nAccept-Encoding: gzip\r\nRange: bytes=0-\r\n"
        "Connection: keep-alive, X-Secret\r\nX-Secret: s\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: z\r\n"
        "X-Request-Id: my id\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n");
    int guest = guest_accept();
    const char *head = hear_head(guest);
    assert_has(head, "GET /files/a%2Fb%23?x=%00&y HTTP/1.1\r\nHost: 127.0.0.1:");
    assert_has(head, "Authorization: Bearer guest-key\r\n");
    assert_has(head, "X-Session-Id: s\r\n");
    assert_has(head, "Cookie: a=b\r\n");
    assert_has(head, "Accept-Encoding: gzip\r\n");
    assert_has(head, "Range: bytes=0-\r\n");
    assert_has(head, "X-Request-Id: my id\r\n");
    assert_has(head, "X-Twice: 1\r\nX-Twice: 2\r\n");
    static const char *const unwanted[] = { "alice", "chat:1", "X-Secret", "Keep-Alive", "TE:", "Proxy-", "public", "Bearer key", "Connection" };
    for (size_t i = 0; i < COUNT_OF(unwanted); i++)
        assert_has_not(head, unwanted[i]);
    assert_string_equal(fleet.wanted, "alice lab chat:1");
    say(guest, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        "Content-Encoding: gzip\r\nAccess-Control-Allow-Origin: *\r\nX-Request-Id: guest\r\n\r\n");
    head = hear_head(client);
    assert_has(head, "HTTP/1.1 200 Fine\r\n");
    assert_has(head, "Set-Cookie: a\r\nSet-Cookie: b\r\n");
    assert_has(head, "Content-Encoding: gzip\r\n");
    assert_has(head, "Content-Length: 0\r\n");
    assert_has(head, "X-Request-Id: my id\r\n");
    assert_has_not(head, "X-Hop");
    assert_has_not(head, "guest");
    assert_has_not(head, "Access-Control");
    (void)close(client);
    (void)close(guest);
}

static void bad_request_ids_are_replaced(void **state)
{
    char request[600];
    (void)snprintf(request, sizeof(request), "GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: %0200d\r\n\r\n", 1);
    int client = client_connect();
    say(client, request);
    const char *head = hear_head(client);
    assert_has_not(head, "00000000000001");
    assert_int_equal(strstr(head, "X-Request-Id: ")[14 + 14], '4');     /* the version of a UUID4 */
    (void)close(client);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    int client = client_connect();
    say(client, "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n"
        "GET /2 HTTP/1.1\r\nHost: x\r\n" ALICE "\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    int guest = guest_accept();
    assert_has(hear_head(guest), "GET /1 ");
    assert_true(is_silent(guest, 50));
    say(guest, OK_HELLO);
    assert_has(hear_head(guest), "GET /2 ");
    say(guest, OK_HELLO);
    for (int i = 0; i < 4; i++) {
        const char *head = strdup(hear_head(client));
        assert_string_equal(hear_body(client, head), i == 0 || i == 3 ? "{\"status\":true}" : "hello");
        free((void *)head);
    }
    (void)close(client);
    (void)close(guest);
}

static void chunked_bodies_are_coded_anew_both_ways(void **state)
{
    int client = client_connect();
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n");
    int guest = guest_accept();
    assert_has(hear_head(guest), "Transfer-Encoding: chunked\r\n");
    hear(guest, "5\r\nabcde\r\n");
    say(client, "1\r\nf\r\n0\r\nX-Trailer: 1\r\n\r\n");
    hear(guest, "1\r\nf\r\n0\r\n\r\n");
    say(guest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n");
    assert_has(hear_head(client), "Transfer-Encoding: chunked\r\n");
    hear(client, "4\r\nwxyz\r\n");
    say(guest, "0\r\n\r\n");
    hear(client, "0\r\n\r\n");
    say(client, "GET /next HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    assert_has(hear_head(guest), "GET /next ");
    (void)close(client);
    (void)close(guest);
}

static void answers_until_close_become_chunked(void **state)
{
    int client, guest;
    ask(&client, &guest);
    say(guest, "HTTP/1.0 200 OK\r\n\r\nabc");
    (void)close(guest);
    assert_has(hear_head(client), "Transfer-Encoding: chunked\r\n");
    hear(client, "3\r\nabc\r\n0\r\n\r\n");
    say(client, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)hear_head(client);
    (void)close(client);
}

static void reset(int fd)
{
    struct linger at_once = { .l_onoff = 1 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)close(fd);
}

static void an_answer_until_close_that_breaks_off_is_not_whole(void **state)
{
    int client, guest;
    ask(&client, &guest);
    say(guest, "HTTP/1.0 200 OK\r\n\r\nabc");
    (void)hear_head(client);
    hear(client, "3\r\nabc\r\n");
    reset(guest);
    hear_end(client);
    (void)close(client);
}

static void old_clients_get_plain_bodies(void **state)
{
    int client = client_connect();
    say(client, "GET /x HTTP/1.0\r\n" ALICE "\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    const char *head = hear_head(client);
    assert_has_not(head, "Transfer-Encoding");
    assert_has(head, "Connection: close\r\n");
    hear(client, "abc");
    hear_end(client);
    (void)close(client);
    (void)close(guest);
}

static void answers_without_body_leave_the_connection_usable(void **state)
{
    static const struct { const char *method, *answer, *has; } rows[] = {
        { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "Content-Length: 99\r\n" },
        { "GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204" },
        { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "Content-Length: 7\r\n" },
    };
    int client = client_connect(), guest = -1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[200];
        (void)snprintf(request, sizeof(request), "%s /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", rows[i].method);
        say(client, request);
        if (guest < 0)
            guest = guest_accept();
        (void)hear_head(guest);
        say(guest, rows[i].answer);
        const char *head = hear_head(client);
        assert_has(head, rows[i].has);
        assert_has_not(head, "Transfer-Encoding");
    }
    (void)close(client);
    (void)close(guest);
}

static void interim_answers_pass_and_expect_is_the_guests(void **state)
{
    int client = client_connect();
    say(client, "PUT /x HTTP/1.1\r\nHost: x\r\n" ALICE "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    int guest = guest_accept();
    assert_has(hear_head(guest), "Expect: 100-continue\r\n");
    assert_true(is_silent(client, 50));
    say(guest, "HTTP/1.1 100 Continue\r\n\r\n");
    hear(client, "HTTP/1.1 100 Continue\r\n\r\n");
    say(client, "abc");
    hear(guest, "abc");
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "HTTP/1.1 200 OK\r\n");
    (void)close(client);
    (void)close(guest);
}

static void response_head_may_come_byte_by_byte(void **state)
{
    int client = client_connect();
    const char *request = "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n";
    for (size_t i = 0; request[i]; i++)
        say(client, (char[2]){ request[i], '\0' });
    int guest = guest_accept();
    (void)hear_head(guest);
    for (size_t i = 0; i < sizeof(OK_HELLO) - 1; i++) {
        say(guest, (char[2]){ OK_HELLO[i], '\0' });
        usleep(300);
    }
    (void)hear_head(client);
    hear(client, "hello");
    (void)close(client);
    (void)close(guest);
}

/* Both sides stop reading: the gateway holds back instead of holding. */
static void slow_reader_stops_the_guest(void **state)
{
    int client = client_connect();
    say(client, "GET /big HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n");
    (void)hear_head(client);
    static char block[100000];
    size_t sent = 0, heard = 0;
    memset(block, 'x', sizeof(block));
    while (sent < 200000000) {
        ssize_t took = send(guest, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (took > 0) {
            sent += (size_t)took;
            continue;
        }
        struct pollfd wait = { .fd = guest, .events = POLLOUT };
        if (poll(&wait, 1, 300) == 0)
            break;
    }
    assert_true(sent < 40000000);           /* no more than the sockets' buffers */
    (void)shutdown(guest, SHUT_WR);         /* cut short: the client must notice */
    ssize_t got;
    while ((got = recv(client, block, sizeof(block), 0)) > 0)
        heard += (size_t)got;
    assert_true(heard <= sent);
    (void)close(client);
    (void)close(guest);
}

static void *swallow(void *argument)
{
    static char block[100000];
    size_t *total = argument;
    int fd = (int)*total;
    *total = 0;
    ssize_t got;
    while (*total < 50000000 && (got = recv(fd, block, sizeof(block), 0)) > 0)
        *total += (size_t)got;
    return NULL;
}

static void big_upload_streams(void **state)
{
    static char block[100000];
    int client = client_connect();
    say(client, "PUT /big HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 50000000\r\n\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    size_t total = (size_t)guest;
    pthread_t thread;
    pthread_create(&thread, NULL, swallow, &total);
    for (size_t sent = 0; sent < 50000000; ) {
        ssize_t took = send(client, block, sizeof(block), MSG_NOSIGNAL);
        assert_true(took > 0);
        sent += (size_t)took;
    }
    pthread_join(thread, NULL);
    assert_int_equal(total, 50000000);
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "200 OK");
    (void)close(client);
    (void)close(guest);
}

/* --- what may be sent again (§2.6.6) ------------------------------------------------------------------------------- */

/* A guest connection that sits in the pool. */
static int pooled_guest(int client)
{
    say(client, "GET /first HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, OK_HELLO);
    (void)hear_head(client);
    hear(client, "hello");
    return guest;
}

static void get_is_sent_again_when_a_pooled_connection_dies(void **state)
{
    int client = client_connect(), guest = pooled_guest(client);
    say(client, "GET /second HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    (void)hear_head(guest);
    (void)close(guest);
    guest = guest_accept();
    assert_has(hear_head(guest), "GET /second ");
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "200 OK");
    (void)close(client);
    (void)close(guest);
}

static void get_is_not_sent_again_after_a_byte_of_response(void **state)
{
    int client = client_connect(), guest = pooled_guest(client);
    say(client, "GET /second HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 20");
    usleep(50000);
    (void)close(guest);
    assert_has(hear_head(client), "502");
    assert_false(guest_is_dialled(100));
    (void)close(client);
}

static void post_is_never_sent_twice(void **state)
{
    static const char *const bodies[] = { "Content-Length: 0\r\n\r\n", "Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        char request[300];
        int client = client_connect(), guest = pooled_guest(client);
        (void)snprintf(request, sizeof(request), "POST /api/terminals/user/input HTTP/1.1\r\nHost: x\r\n" ALICE "%s", bodies[i]);
        say(client, request);
        (void)hear_head(guest);
        (void)close(guest);
        const char *head = hear_head(client);
        assert_has(head, "HTTP/1.1 502 ");
        assert_string_equal(hear_body(client, head), "{\"error\":\"Upstream connection failed\"}");
        assert_false(guest_is_dialled(100));
        (void)close(client);
    }
}

static void post_takes_a_new_connection_when_the_pooled_one_was_closed(void **state)
{
    int client = client_connect(), guest = pooled_guest(client);
    (void)close(guest);
    usleep(20000);
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 2\r\n\r\nhi");
    guest = guest_accept();
    (void)hear_head(guest);
    hear(guest, "hi");
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "200 OK");
    (void)close(client);
    (void)close(guest);
}

static void post_does_not_use_a_connection_idle_for_two_seconds(void **state)
{
    int client = client_connect(), guest = pooled_guest(client), other;
    usleep(2200000);
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 0\r\n\r\n");
    other = guest_accept();
    (void)hear_head(other);
    say(other, OK_HELLO);
    (void)hear_head(client);
    hear(client, "hello");
    say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    (void)hear_head(other);                 /* the one used last */
    (void)close(client);
    hear_end(guest);                        /* given up after 4 s, before the guest would */
    (void)close(guest);
    (void)close(other);
}

static void dead_fresh_connection_is_a_502(void **state)
{
    int client = client_connect();
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 2\r\n\r\nhi");
    int guest = guest_accept();
    (void)hear_head(guest);
    (void)close(guest);
    const char *head = hear_head(client);
    assert_has(head, "HTTP/1.1 502 ");
    assert_string_equal(hear_body(client, head), "{\"error\":\"Upstream connection failed\"}");
    assert_true(fleet.suspects > 0);
    (void)close(client);
}

static void unreachable_guest_is_a_502_and_is_suspected(void **state)
{
    (void)close(guest_listener);
    expect_answer("GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", 502, "{\"error\":\"Terminal instance not reachable\"}");
    assert_true(fleet.suspects > 0);
    guest_listener = listen_somewhere();
}

static void withdrawn_route_is_asked_for_again(void **state)
{
    int client = client_connect(), guest = pooled_guest(client);
    struct route *former = fleet.route;
    fleet.route = make_route(guest_listener);
    atomic_store(&former->withdrawn, true);
    route_unref(former);
    int wants = fleet.wants;
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 0\r\n\r\n");
    int other = guest_accept();
    (void)hear_head(other);
    say(other, OK_HELLO);
    (void)hear_head(client);
    assert_int_equal(fleet.wants, wants + 1);
    (void)close(client);
    (void)close(guest);
    (void)close(other);
}

static void guests_that_break_the_protocol_are_502(void **state)
{
    static const char *const answers[] = {
        "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        int client = client_connect();
        say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
        int guest = guest_accept();
        (void)hear_head(guest);
        say(guest, answers[i]);
        assert_has(hear_head(client), "HTTP/1.1 502 ");
        (void)close(client);
        (void)close(guest);
    }
}

static void broken_chunks_cut_the_client_off(void **state)
{
    int client, guest;
    ask(&client, &guest);
    say(guest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz");
    (void)hear_head(client);
    hear(client, "2\r\nab\r\n");
    hear_end(client);
    (void)close(client);
    (void)close(guest);
}

static void broken_chunks_of_a_request_are_refused_whenever_they_come(void **state)
{
    int client = client_connect();
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    hear(guest, "2\r\nab\r\n");
    say(client, "zz\r\n");
    assert_has(hear_head(client), "HTTP/1.1 400 ");
    hear_end(guest);
    (void)close(client);
    (void)close(guest);
}

/* What a client sends ahead does not keep its request alive. */
static void silent_guest_times_out_although_the_client_speaks(void **state)
{
    stop_gateway();
    settings.read_timeout_s = 1;
    start_gateway();
    int client, guest;
    ask(&client, &guest);
    struct pollfd wait = { .fd = client, .events = POLLIN };
    int64_t began = clock_monotonic_ms();
    while (poll(&wait, 1, 300) == 0 && clock_monotonic_ms() - began < PATIENCE_MS)
        say(client, "G");
    assert_has(hear_head(client), "HTTP/1.1 504 ");
    (void)close(client);
    (void)close(guest);
}

static void silent_guest_times_out(void **state)
{
    stop_gateway();
    settings.read_timeout_s = 1;
    start_gateway();
    int client, guest;
    ask(&client, &guest);
    const char *head = hear_head(client);
    assert_has(head, "HTTP/1.1 504 ");
    assert_string_equal(hear_body(client, head), "{\"error\":\"Upstream response timed out\"}");
    (void)close(client);
    (void)close(guest);
}

/* --- clients that leave ------------------------------------------------------------------------------------------- */

static void client_that_leaves_cancels_its_request(void **state)
{
    int client, guest;
    ask(&client, &guest);
    (void)close(client);
    hear_end(guest);
    (void)close(guest);
    for (int i = 0; i < 1000 && atomic_load(&fleet.route->active_requests) > 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&fleet.route->active_requests), 0);
}

static void client_that_leaves_while_a_terminal_starts_is_forgotten(void **state)
{
    fleet.starts_late = true;
    int client = client_connect();
    say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    struct waiter *waiter = await_waiter();
    (void)close(client);
    usleep(50000);
    waiter->post(waiter, route_ref(fleet.route), NULL);
    assert_false(guest_is_dialled(100));
}

static void early_answer_to_an_upload_reaches_the_client(void **state)
{
    static char block[100000];
    int client = client_connect();
    say(client, "PUT /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 1000000\r\n\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    (void)send(client, block, sizeof(block), MSG_NOSIGNAL);
    const char *head = hear_head(client);
    assert_has(head, "HTTP/1.1 413 Too Large");
    assert_has(head, "Connection: close");
    hear(client, "no");
    (void)close(client);
    (void)close(guest);
}

static void refused_upload_hears_why(void **state)
{
    static char block[100000];
    int client = client_connect();
    say(client, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 150000\r\n\r\n");
    (void)send(client, block, sizeof(block), MSG_NOSIGNAL);
    usleep(20000);
    (void)send(client, block, 50000, MSG_NOSIGNAL);
    const char *head = hear_head(client);
    assert_has(head, "HTTP/1.1 401 ");
    assert_has(head, "Connection: close\r\n");
    assert_string_equal(hear_body(client, head), "{\"detail\":\"Missing Authorization header\"}");
    hear_end(client);
    (void)close(client);
}

/* Most clients send all of it before they look for an answer. */
static void refused_upload_of_any_size_hears_why(void **state)
{
    static char block[1 << 20];
    int client = client_connect();
    say(client, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n");
    for (int i = 0; i < 16; i++)
        assert_int_equal(send(client, block, sizeof(block), MSG_NOSIGNAL), sizeof(block));
    assert_has(hear_head(client), "HTTP/1.1 401 ");
    (void)close(client);
}

/* --- waiting for a start ------------------------------------------------------------------------------------------ */

static void sleeping_post_is_sent_whole_when_the_terminal_is_there(void **state)
{
    fleet.starts_late = true;
    int client = client_connect();
    say(client, "POST /x HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 6\r\n\r\nabc");
    struct waiter *waiter = await_waiter();
    say(client, "def");
    assert_false(guest_is_dialled(50));
    waiter->post(waiter, route_ref(fleet.route), NULL);
    int guest = guest_accept();
    assert_has(hear_head(guest), "Content-Length: 6\r\n");
    hear(guest, "abcdef");
    say(guest, OK_HELLO);
    assert_has(hear_head(client), "200 OK");
    (void)close(client);
    (void)close(guest);
}

static void failed_start_says_why(void **state)
{
    static const struct { enum error_class class; int status; const char *body; } rows[] = {
        { ERR_IMAGE_NOT_FOUND, 503, "{\"error\":\"it failed\",\"reason\":\"image_not_found\"}" },
        { ERR_GUEST_CRASHED, 503, "{\"error\":\"it failed\",\"reason\":\"guest_crashed\"}" },
        { ERR_IMAGE_NOT_ALLOWED, 422, "{\"error\":\"it failed\",\"reason\":\"image_not_allowed\"}" },
        { ERR_INVALID_POLICY, 422, "{\"error\":\"it failed\",\"reason\":\"invalid_policy\"}" },
    };
    fleet.starts_late = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int client = client_connect();
        struct error err;
        error_set(&err, rows[i].class, "it failed");
        say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
        struct waiter *waiter = await_waiter();
        waiter->post(waiter, NULL, &err);
        const char *head = hear_head(client);
        char line[40];
        (void)snprintf(line, sizeof(line), "HTTP/1.1 %d ", rows[i].status);
        assert_has(head, line);
        if (rows[i].status == 503)
            assert_has(head, "Retry-After: ");
        assert_string_equal(hear_body(client, head), rows[i].body);
        (void)close(client);
    }
}

static void skills_waits_five_seconds(void **state)
{
    fleet.starts_late = true;
    int client = client_connect();
    int64_t began = clock_monotonic_ms();
    say(client, "GET /p/lab/skills HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    const char *head = hear_head(client);
    int64_t took = clock_monotonic_ms() - began;
    assert_in_range(took, 4900, 6000);
    assert_has(head, "HTTP/1.1 503 ");
    assert_has(head, "Retry-After: ");
    assert_has(hear_body(client, head), "\"reason\":\"starting\"");
    struct waiter *waiter = await_waiter();
    waiter->post(waiter, NULL, NULL);
    (void)close(client);
}

static void start_that_takes_too_long_is_given_up(void **state)
{
    stop_gateway();
    settings.start_timeout_s = 0;
    start_gateway();
    fleet.starts_late = true;
    int client = client_connect();
    say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    const char *head = hear_head(client);
    assert_has(hear_body(client, head), "\"reason\":\"start_timeout\"");
    struct waiter *waiter = await_waiter();
    waiter->post(waiter, NULL, NULL);
    (void)close(client);
}

/* --- activity -------------------------------------------------------------------------------------------------------- */

static void passive_requests_move_no_clock_and_start_nothing(void **state)
{
    int client = client_connect(), guest = pooled_guest(client);
    usleep(30000);                          /* the end of the first request is activity too */
    atomic_store(&fleet.route->last_active_ms, 1);
    atomic_store(&fleet.route->last_traffic_ms, 1);
    static const char *const polls[] = { "/execute", "/execute/a/status?wait=0&offset=1", "/ports", "/p/default/health" };
    for (size_t i = 0; i < COUNT_OF(polls); i++) {
        char request[200];
        (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", polls[i]);
        say(client, request);
        (void)hear_head(guest);
        assert_int_equal(atomic_load(&fleet.route->active_requests), 0);
        say(guest, OK_HELLO);
        (void)hear_head(client);
        hear(client, "hello");
        assert_int_equal(atomic_load(&fleet.route->last_active_ms), 1);
    }
    say(client, "GET /execute/a/status?wait=5 HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    (void)hear_head(guest);
    assert_int_equal(atomic_load(&fleet.route->active_requests), 1);
    assert_true(atomic_load(&fleet.route->last_active_ms) > 1);
    say(guest, OK_HELLO);
    (void)hear_head(client);
    (void)close(client);
    (void)close(guest);
}

static void passive_requests_without_terminal_are_answered_at_once(void **state)
{
    static const struct { const char *path; int status; const char *body; } rows[] = {
        { "/execute", 200, "[]" },
        { "/p/lab/execute", 200, "[]" },
        { "/ports", 200, "{\"ports\":[]}" },
        { "/execute/x/status", 404, "{\"detail\":\"Process not found\"}" },
        { "/execute/x/status?wait=0", 404, "{\"detail\":\"Process not found\"}" },
        { "/p/default/health", 200, "{\"status\":\"ok\"}" },
        { "/api/config", 200, "{\"openapi\":1}" },
        { "/p/lab/system", 200, "{\"openapi\":1}" },
    };
    fleet.starts_late = true;
    document_obtainable = true;
    document_may_start = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[200];
        (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", rows[i].path);
        expect_answer(request, rows[i].status, rows[i].body);
    }
    assert_int_equal(fleet.wants, 0);
    assert_false(document_may_start);
}

static void session_of_a_post_is_remembered(void **state)
{
    int client = client_connect();
    say(client, "POST /api/terminals HTTP/1.1\r\nHost: x\r\n" ALICE "X-Session-Id: chat-7\r\nContent-Length: 0\r\n\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"id\":\"abcd1234\", \"pid\": 3}");
    (void)hear_head(client);
    hear(client, "{\"id\":\"abcd1234\", \"pid\": 3}");
    cleanup_free char *header = NULL;
    assert_true(route_recall_session(fleet.route, str_from("abcd1234"), &header));
    assert_string_equal(header, "chat-7");
    (void)close(client);
    (void)close(guest);
}

/* --- tunnels ---------------------------------------------------------------------------------------------------------- */

static void other_upgrades_become_tunnels(void **state)
{
    int client = client_connect();
    say(client, "GET /proxy/5173/hmr HTTP/1.1\r\nHost: x\r\n" ALICE "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: k\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\nearly");
    int guest = guest_accept();
    const char *head = hear_head(guest);
    assert_has(head, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_has(head, "Sec-WebSocket-Key: k\r\n");
    assert_has_not(head, "Extensions");
    say(guest, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nhi");
    head = hear_head(client);
    assert_has(head, "HTTP/1.1 101 Switching Protocols\r\n");
    assert_has(head, "Upgrade: websocket\r\n");
    assert_has(head, "Sec-WebSocket-Accept: a\r\n");
    hear(client, "hi");
    hear(guest, "early");
    assert_int_equal(atomic_load(&fleet.route->websockets), 1);
    say(client, "ping");
    hear(guest, "ping");
    say(guest, "pong");
    hear(client, "pong");
    (void)shutdown(client, SHUT_WR);
    hear_end(guest);
    say(guest, "last words");
    (void)close(guest);
    hear(client, "last words");
    hear_end(client);
    (void)close(client);
    for (int i = 0; i < 1000 && atomic_load(&fleet.route->websockets) > 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&fleet.route->websockets), 0);
}

/* A half-closed side is not read; that the rest of it goes too is noticed all the same. */
static void tunnel_ends_when_its_half_closed_client_goes(void **state)
{
    int client = client_connect();
    say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "Connection: Upgrade\r\nUpgrade: deaf\r\n\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: deaf\r\nConnection: Upgrade\r\n\r\n");
    (void)hear_head(client);
    (void)shutdown(client, SHUT_WR);
    hear_end(guest);
    assert_int_equal(atomic_load(&fleet.route->websockets), 1);
    reset(client);
    for (int i = 0; i < PATIENCE_MS && atomic_load(&fleet.route->websockets) > 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&fleet.route->websockets), 0);
    (void)close(guest);
}

static void refused_upgrade_is_an_ordinary_answer(void **state)
{
    int client = client_connect();
    say(client, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "Connection: Upgrade\r\nUpgrade: foo\r\n\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    say(guest, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    assert_has(hear_head(client), "HTTP/1.1 404 Not Found\r\n");
    hear(client, "no");
    (void)close(client);
    (void)close(guest);
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

static void *drain(void *argument)
{
    gateway_drain(gateway, 5000);
    return NULL;
}

static void draining_lets_requests_end_and_closes_the_rest(void **state)
{
    int idle = client_connect(), busy = client_connect();
    say(idle, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)hear_head(idle);
    hear(idle, "{\"status\":true}");
    say(busy, "GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n");
    int guest = guest_accept();
    (void)hear_head(guest);
    gateway_set_draining(gateway);
    expect_answer("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", 503, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, drain, NULL);
    hear_end(idle);
    expect_answer("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", 503, NULL);
    expect_answer("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    expect_answer("GET /x HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", 503,
                  "{\"error\":\"The service is stopping\",\"reason\":\"backend_unavailable\"}");
    int late = client_connect();        /* says nothing, and nobody waits for it */
    say(guest, OK_HELLO);
    assert_has(hear_head(busy), "Connection: close\r\n");
    hear(busy, "hello");
    hear_end(busy);
    int64_t began = clock_monotonic_ms();
    pthread_join(thread, NULL);
    assert_true(clock_monotonic_ms() - began < 2000);
    (void)close(late);
    (void)close(idle);
    (void)close(busy);
    (void)close(guest);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(small_get_goes_through_and_keeps_both_connections), ROW(request_head_is_rewritten), ROW(bad_request_ids_are_replaced),
        ROW(pipelined_requests_are_answered_in_order), ROW(chunked_bodies_are_coded_anew_both_ways),
        ROW(answers_until_close_become_chunked), ROW(an_answer_until_close_that_breaks_off_is_not_whole), ROW(old_clients_get_plain_bodies),
        ROW(answers_without_body_leave_the_connection_usable), ROW(interim_answers_pass_and_expect_is_the_guests),
        ROW(response_head_may_come_byte_by_byte), ROW(slow_reader_stops_the_guest), ROW(big_upload_streams),
        ROW(get_is_sent_again_when_a_pooled_connection_dies), ROW(get_is_not_sent_again_after_a_byte_of_response),
        ROW(post_is_never_sent_twice), ROW(post_takes_a_new_connection_when_the_pooled_one_was_closed),
        ROW(post_does_not_use_a_connection_idle_for_two_seconds), ROW(dead_fresh_connection_is_a_502),
        ROW(unreachable_guest_is_a_502_and_is_suspected), ROW(withdrawn_route_is_asked_for_again),
        ROW(guests_that_break_the_protocol_are_502), ROW(broken_chunks_cut_the_client_off), ROW(silent_guest_times_out), ROW(silent_guest_times_out_although_the_client_speaks), ROW(broken_chunks_of_a_request_are_refused_whenever_they_come),
        ROW(client_that_leaves_cancels_its_request), ROW(client_that_leaves_while_a_terminal_starts_is_forgotten),
        ROW(early_answer_to_an_upload_reaches_the_client), ROW(refused_upload_hears_why), ROW(refused_upload_of_any_size_hears_why),
        ROW(sleeping_post_is_sent_whole_when_the_terminal_is_there), ROW(failed_start_says_why), ROW(skills_waits_five_seconds),
        ROW(start_that_takes_too_long_is_given_up), ROW(passive_requests_move_no_clock_and_start_nothing),
        ROW(passive_requests_without_terminal_are_answered_at_once), ROW(session_of_a_post_is_remembered),
        ROW(other_upgrades_become_tunnels), ROW(tunnel_ends_when_its_half_closed_client_goes), ROW(refused_upgrade_is_an_ordinary_answer),
        ROW(draining_lets_requests_end_and_closes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
