/* The blocking client against a small server on this machine: what it sends, how it ends, and what it says when it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "http/client.h"
#include "http/head.h"

/* --- a server that answers by path ----------------------------------------------------------------------------- */

struct server {
    int listener;
    pthread_t thread;
    char address[108];          /* "http://127.0.0.1:port" or the socket's path */
    atomic_int connections;
    atomic_bool stop;
};

static struct server tcp_server, unix_server;
static char directory[] = "/tmp/terminals-client-XXXXXX";

static void send_text(int fd, const char *text)
{
    assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0 || errno == EPIPE || errno == ECONNRESET);
}

/* Waits until the client has gone, so that silence is not mistaken for an end. */
static void wait_for_end(const struct server *server, int fd)
{
    char byte;
    while (!atomic_load(&server->stop)) {
        struct pollfd poller = { .fd = fd, .events = POLLIN };
        if (poll(&poller, 1, 50) > 0 && recv(fd, &byte, 1, 0) <= 0)
            return;
    }
}

static void echo(int fd, struct str request)
{
    cleanup_buf struct buf out = { 0 };
    buf_printf(&out, "HTTP/1.1 201 Created\r\nContent-Type: text/x-echo\r\nApi-Version:  1.41 \r\nContent-Length: %zu\r\n\r\n", request.len);
    buf_append_str(&out, request);
    assert_true(send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len);
}

/* Answers one request; false ends the connection. */
static bool answer_request(struct server *server, int fd, struct str path, struct str whole)
{
    if (str_equal_text(path, "/echo"))
        echo(fd, whole);
    else if (str_equal_text(path, "/missing"))
        send_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
    else if (str_equal_text(path, "/busy"))
        send_text(fd, "HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    else if (str_equal_text(path, "/redirect"))
        send_text(fd, "HTTP/1.1 302 Found\r\nLocation: /final\r\nApi-Version: 1\r\nContent-Length: 0\r\n\r\n");
    else if (str_equal_text(path, "/final"))
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal");
    else if (str_equal_text(path, "/file"))
        send_text(fd, "HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n");
    else if (str_equal_text(path, "/head"))
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    else if (str_equal_text(path, "/pieces"))
        send_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    else if (str_equal_text(path, "/cut"))
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    else if (str_equal_text(path, "/begin")) {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        wait_for_end(server, fd);
    } else
        wait_for_end(server, fd);
    return !str_equal_text(path, "/cut");
}

/* True when a whole request is in `data`. */
static bool is_whole(const struct buf *data, struct http_request *request, size_t *length)
{
    size_t scanned = 0, consumed = 0;
    int status;
    const char *why;
    if (http_parse_request(buf_str(data), &scanned, request, &consumed, &status, &why) != HTTP_COMPLETE)
        return false;
    *length = consumed + (size_t)request->content_length;
    return data->len >= *length;
}

static void serve_connection(struct server *server, int fd)
{
    cleanup_buf struct buf data = { 0 };
    bool goes_on = true;

    while (goes_on) {
        struct http_request request;
        size_t length;
        while (is_whole(&data, &request, &length) && goes_on) {
            goes_on = answer_request(server, fd, request.path, str_of(data.data, length));
            buf_consume(&data, length);
        }
        struct pollfd poller = { .fd = fd, .events = POLLIN };
        if (!goes_on || atomic_load(&server->stop))
            break;
        if (poll(&poller, 1, 50) <= 0)
            continue;
        ssize_t got = recv(fd, buf_reserve(&data, 4096), 4096, 0);
        if (got <= 0)
            break;
        data.len += (size_t)got;
    }
    close(fd);
}

struct connection {
    struct server *server;
    int fd;
};

static void *run_connection(void *argument)
{
    struct connection *connection = argument;
    serve_connection(connection->server, connection->fd);
    free(connection);
    return NULL;
}

static void *run_server(void *argument)
{
    struct server *server = argument;
    pthread_t threads[64];
    size_t count = 0;

    while (!atomic_load(&server->stop)) {
        struct pollfd poller = { .fd = server->listener, .events = POLLIN };
        if (poll(&poller, 1, 50) <= 0)
            continue;
        struct connection *connection = xmalloc(sizeof(*connection));
        *connection = (struct connection){ server, accept(server->listener, NULL, NULL) };
        atomic_fetch_add(&server->connections, 1);
        assert_true(count < COUNT_OF(threads));
        assert_int_equal(pthread_create(&threads[count++], NULL, run_connection, connection), 0);
    }
    while (count > 0)
        pthread_join(threads[--count], NULL);
    return NULL;
}

static void start_server(struct server *server, int family, const struct sockaddr *address, socklen_t len)
{
    server->listener = socket(family, SOCK_STREAM, 0);
    assert_true(server->listener >= 0);
    assert_int_equal(bind(server->listener, address, len), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static int start_servers(void **state)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    socklen_t len = sizeof(loopback);

    http_client_global_init();
    assert_non_null(mkdtemp(directory));
    start_server(&tcp_server, AF_INET, (struct sockaddr *)&loopback, sizeof(loopback));
    assert_int_equal(getsockname(tcp_server.listener, (struct sockaddr *)&loopback, &len), 0);
    (void)snprintf(tcp_server.address, sizeof(tcp_server.address), "http://127.0.0.1:%u", ntohs(loopback.sin_port));
    (void)snprintf(unix_server.address, sizeof(unix_server.address), "%s/socket", directory);
    (void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", unix_server.address);
    start_server(&unix_server, AF_UNIX, (struct sockaddr *)&local, sizeof(local));
    return 0;
}

static int stop_servers(void **state)
{
    struct server *servers[] = { &tcp_server, &unix_server };

    for (size_t i = 0; i < COUNT_OF(servers); i++) {
        atomic_store(&servers[i]->stop, true);
        pthread_join(servers[i]->thread, NULL);
        close(servers[i]->listener);
    }
    unlink(unix_server.address);
    rmdir(directory);
    return 0;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static struct http_client *new_client(const char *unix_socket)
{
    return http_client_new(&(struct http_client_options){ .unix_socket = unix_socket, .no_proxy_env = true });
}

static int call_path(struct http_client *client, struct http_call call, const char *path, struct http_answer *answer, struct error *err)
{
    char url[256];

    (void)snprintf(url, sizeof(url), "%s%s", tcp_server.address, path);
    call.url = url;
    if (!call.method)
        call.method = "GET";
    return http_client_call(client, &call, answer, err);
}

struct sent_row {
    const char *name, *method;
    struct str body;
    bool has_body;
    const char *header;
    const char *present[3], *absent[3];
};

static void requests_carry_what_was_asked_for_and_no_more(void **state)
{
    static const struct sent_row rows[] = {
        { "get", "GET", { 0 }, false, "X-A: b", { "GET /echo HTTP/1.1\r\n", "\r\nX-A: b\r\n" }, { "Content-", "Expect", "Cookie" } },
        { "post with a body", "POST", STR_LITERAL("{}"), true, "Content-Type: application/json",
          { "POST /echo ", "\r\nContent-Length: 2\r\n", "\r\nContent-Type: application/json\r\n" }, { "urlencoded", "Expect" } },
        { "post with bytes", "POST", STR_LITERAL("a\0b"), true, NULL, { "\r\nContent-Length: 3\r\n" }, { "Content-Type" } },
        { "post without a body", "POST", { 0 }, false, NULL, { "\r\nContent-Length: 0\r\n" }, { "Content-Type" } },
        { "put with an empty body", "PUT", { 0 }, true, NULL, { "PUT /echo ", "\r\nContent-Length: 0\r\n" }, { "Content-Type" } },
        { "delete", "DELETE", { 0 }, false, NULL, { "DELETE /echo " }, { "Content-" } },
        { "delete with a body", "DELETE", STR_LITERAL("x"), true, NULL, { "DELETE /echo ", "\r\nContent-Length: 1\r\n" }, { NULL } },
    };
    struct http_client *client = new_client(NULL);

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct sent_row *row = &rows[i];
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err = { 0 };
        const char *headers[] = { row->header, NULL };
        struct http_call call = { .method = row->method, .headers = headers, .body = row->body, .has_body = row->has_body };
        if (call_path(client, call, "/echo", &answer, &err) < 0)
            fail_msg("%s: %s", row->name, err.text);
        assert_int_equal(answer.status, 201);
        assert_string_equal(answer.content_type, "text/x-echo");
        assert_string_equal(answer.api_version, "1.41");
        assert_true(str_ends_with(buf_str(&answer.body), row->body));
        cleanup_free char *sent = str_dup(buf_str(&answer.body));
        for (size_t n = 0; n < 3; n++) {
            if (row->present[n] && !strstr(sent, row->present[n]))
                fail_msg("%s: no '%s' in\n%s", row->name, row->present[n], sent);
            if (row->absent[n] && strstr(sent, row->absent[n]))
                fail_msg("%s: '%s' in\n%s", row->name, row->absent[n], sent);
        }
    }
    http_client_free(client);
}

static void any_status_is_an_answer(void **state)
{
    struct http_client *client = new_client(NULL);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err;

    assert_int_equal(call_path(client, (struct http_call){ 0 }, "/missing", &answer, &err), 0);
    assert_int_equal(answer.status, 404);
    assert_true(str_equal_text(buf_str(&answer.body), "gone"));
    http_client_free(client);
}

static void a_head_call_waits_for_no_body(void **state)
{
    struct http_client *client = new_client(NULL);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err;

    assert_int_equal(call_path(client, (struct http_call){ .method = "HEAD", .timeout_ms = 5000 }, "/head", &answer, &err), 0);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 0);
    http_client_free(client);
}

static void connections_are_used_again(void **state)
{
    struct http_client *client = new_client(NULL);
    int before = atomic_load(&tcp_server.connections);

    for (int i = 0; i < 5; i++) {
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err;
        assert_int_equal(call_path(client, (struct http_call){ 0 }, "/echo", &answer, &err), 0);
    }
    assert_int_equal(atomic_load(&tcp_server.connections) - before, 1);
    http_client_free(client);
}

static void redirects_are_followed_only_when_asked(void **state)
{
    for (int follow = 0; follow < 2; follow++) {
        struct http_client *client = http_client_new(&(struct http_client_options){ .no_proxy_env = true, .follow_redirects = follow });
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err;
        assert_int_equal(call_path(client, (struct http_call){ 0 }, "/redirect", &answer, &err), 0);
        assert_int_equal(answer.status, follow ? 200 : 302);
        assert_true(str_equal_text(buf_str(&answer.body), follow ? "final" : ""));
        assert_string_equal(answer.api_version, follow ? "" : "1");
        http_client_free(client);
    }
}

static void a_redirect_never_leaves_http(void **state)
{
    struct http_client *client = http_client_new(&(struct http_client_options){ .no_proxy_env = true, .follow_redirects = true });
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };

    assert_int_equal(call_path(client, (struct http_call){ 0 }, "/file", &answer, &err), -1);
    assert_int_equal(answer.body.len, 0);
    http_client_free(client);
}

struct taken {
    struct buf text;
    bool stop;
};

static bool take(void *context, struct str data)
{
    struct taken *taken = context;
    buf_append_str(&taken->text, data);
    return !taken->stop;
}

static void a_streamed_body_goes_to_the_caller(void **state)
{
    struct http_client *client = new_client(NULL);
    struct taken taken = { 0 };
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };

    assert_int_equal(call_path(client, (struct http_call){ .on_data = take, .context = &taken, .max_response = 1 }, "/pieces", &answer, &err),
                     0);
    assert_true(str_equal_text(buf_str(&taken.text), "onetwo"));
    assert_int_equal(answer.body.len, 0);
    buf_free(&taken.text);
    http_client_free(client);
}

static void a_refusal_is_gathered_even_when_streaming(void **state)
{
    struct http_client *client = new_client(NULL);
    struct taken taken = { 0 };
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };

    assert_int_equal(call_path(client, (struct http_call){ .on_data = take, .context = &taken }, "/missing", &answer, &err), 0);
    assert_int_equal(taken.text.len, 0);
    assert_true(str_equal_text(buf_str(&answer.body), "gone"));
    http_client_free(client);
}

static void note_head(void *context, int status)
{
    buf_printf(context, "%d ", status);
}

static void the_final_head_is_told_once_before_the_body(void **state)
{
    static const struct {
        const char *path, *heads;
        bool follow;
    } rows[] = { { "/pieces", "200 ", false }, { "/missing", "404 ", false }, { "/redirect", "302 ", false }, { "/redirect", "200 ", true } };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_client *client = http_client_new(&(struct http_client_options){ .no_proxy_env = true, .follow_redirects = rows[i].follow });
        cleanup_buf struct buf heads = { 0 };
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err = { 0 };
        assert_int_equal(call_path(client, (struct http_call){ .on_head = note_head, .context = &heads }, rows[i].path, &answer, &err), 0);
        assert_true(str_equal_text(buf_str(&heads), rows[i].heads));
        http_client_free(client);
    }
}

static void a_wish_to_be_asked_later_is_kept(void **state)
{
    struct http_client *client = new_client(NULL);
    cleanup_http_answer struct http_answer busy = { 0 }, free_again = { 0 };
    struct error err = { 0 };

    assert_int_equal(call_path(client, (struct http_call){ 0 }, "/busy", &busy, &err), 0);
    assert_int_equal(busy.status, 429);
    assert_int_equal(busy.retry_after_s, 7);
    assert_int_equal(call_path(client, (struct http_call){ 0 }, "/echo", &free_again, &err), 0);
    assert_int_equal(free_again.retry_after_s, 0);
    http_client_free(client);
}

/* The connection goes to the URL's host, and so does the Host field; only what the certificate must name is another. */
static void a_server_may_be_known_by_another_name(void **state)
{
    struct http_client *client = http_client_new(&(struct http_client_options){ .no_proxy_env = true, .server_name = "inside.invalid" });
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };

    if (call_path(client, (struct http_call){ 0 }, "/echo", &answer, &err) < 0)
        fail_msg("%s", err.text);
    cleanup_free char *sent = str_dup(buf_str(&answer.body));
    assert_non_null(strstr(sent, "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_null(strstr(sent, "inside"));
    http_client_free(client);
}

static bool always(void *context) { return true; }
static bool after_a_while(void *context) { return ++*(int *)context > 3; }

struct failure_row {
    const char *name, *path;
    struct http_call call;
    enum error_class class;
    const char *text;
};

static void calls_end_for_a_stated_reason(void **state)
{
    int polls = 0;
    struct taken stopping = { .stop = true };
    const struct failure_row rows[] = {
        { "whole call", "/silent", { .timeout_ms = 200 }, ERR_TIMEOUT, "no answer from http://127.0.0.1:" },
        { "stall before the head", "/silent", { .stall_timeout_ms = 200 }, ERR_TIMEOUT, "sent nothing for 200 ms" },
        { "stall inside the body", "/begin", { .stall_timeout_ms = 200 }, ERR_TIMEOUT, "sent nothing for 200 ms" },
        { "answer too long", "/echo", { .max_response = 10 }, ERR_LIMIT, "is too long" },
        { "stopped by the receiver", "/pieces", { .on_data = take, .context = &stopping }, ERR_TIMEOUT, "stopped" },
        { "cancelled at once", "/silent", { .cancelled = always }, ERR_TIMEOUT, "stopped" },
        { "cancelled while it waits", "/begin", { .cancelled = after_a_while, .context = &polls }, ERR_TIMEOUT, "stopped" },
        { "cut off", "/cut", { 0 }, ERR_UNAVAILABLE, "the exchange with http://127.0.0.1:" },
    };
    struct http_client *client = new_client(NULL);

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err = { 0 };
        int64_t begin = clock_monotonic_ms();
        int result = call_path(client, rows[i].call, rows[i].path, &answer, &err);
        int64_t took = clock_monotonic_ms() - begin;
        if (result != -1 || err.class != rows[i].class || !strstr(err.text, rows[i].text) || took > 6000)
            fail_msg("%s: %d %s '%s' after %lld ms", rows[i].name, result, error_class_name(err.class), err.text, (long long)took);
        assert_null(answer.body.data);
    }
    buf_free(&stopping.text);
    http_client_free(client);
}

static void a_time_limit_on_a_reused_connection_is_a_timeout(void **state)
{
    struct http_client *client = new_client(NULL);
    struct error err = { 0 };
    cleanup_http_answer struct http_answer first = { 0 }, second = { 0 };

    assert_int_equal(call_path(client, (struct http_call){ 0 }, "/echo", &first, &err), 0);
    assert_int_equal(call_path(client, (struct http_call){ .timeout_ms = 200 }, "/silent", &second, &err), -1);
    assert_int_equal(err.class, ERR_TIMEOUT);
    http_client_free(client);
}

static void a_unix_socket_stands_in_for_the_host(void **state)
{
    struct http_client *client = new_client(unix_server.address);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };
    struct http_call call = { .method = "GET", .url = "http://docker/echo" };

    assert_int_equal(http_client_call(client, &call, &answer, &err), 0);
    assert_int_equal(answer.status, 201);
    http_client_free(client);
}

static void expect_failure(const char *unix_socket, const char *url, enum error_class class, const char *text)
{
    struct http_client *client = new_client(unix_socket);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err = { 0 };
    struct http_call call = { .method = "GET", .url = url, .timeout_ms = 5000 };

    assert_int_equal(http_client_call(client, &call, &answer, &err), -1);
    if (err.class != class || !strstr(err.text, text))
        fail_msg("%s: %s '%s'", url, error_class_name(err.class), err.text);
    http_client_free(client);
}

static void no_connection_says_where_and_what_to_do(void **state)
{
    char missing[100], refused[100];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(missing, sizeof(missing), "%s/missing", directory);
    (void)snprintf(refused, sizeof(refused), "%s/refused", directory);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", refused);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    expect_failure(missing, "http://docker/", ERR_UNAVAILABLE, "/missing: is it running?");
    expect_failure(missing, "http://docker/", ERR_UNAVAILABLE, "no engine answers at /tmp/");
    expect_failure(refused, "http://docker/", ERR_UNAVAILABLE, "/refused: is it running?");
    close(fd);
    unlink(refused);
    expect_failure(NULL, "http://127.0.0.1:1/secret?token=x", ERR_UNAVAILABLE, "cannot connect to http://127.0.0.1:1: Connection refused");
    expect_failure(NULL, "http://user:secret@127.0.0.1:1/", ERR_UNAVAILABLE, "cannot connect to http://127.0.0.1:1: ");
    expect_failure(NULL, "ftp://127.0.0.1/", ERR_INVALID, "is not an http or https URL");
    expect_failure(NULL, "http://host.invalid/", ERR_UNAVAILABLE, "cannot connect to http://host.invalid: ");
}

/* Root may open everything, so the effective user changes for this one. */
static void a_forbidden_socket_says_who_may_use_it(void **state)
{
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(directory, 0755), 0);
    assert_int_equal(chmod(unix_server.address, 0600), 0);
    assert_int_equal(seteuid(65534), 0);
    expect_failure(unix_server.address, "http://docker/", ERR_UNAVAILABLE, "no permission on /tmp/");
    expect_failure(unix_server.address, "http://docker/", ERR_UNAVAILABLE, "run as root or add the user to the group that owns the socket");
    assert_int_equal(seteuid(0), 0);
}

static void *call_often(void *argument)
{
    for (int i = 0; i < 20; i++) {
        cleanup_http_answer struct http_answer answer = { 0 };
        struct error err;
        assert_int_equal(call_path(argument, (struct http_call){ 0 }, "/echo", &answer, &err), 0);
    }
    return NULL;
}

static void a_client_serves_many_threads(void **state)
{
    struct http_client *client = new_client(NULL);
    pthread_t threads[10];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, client), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    http_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_carry_what_was_asked_for_and_no_more),
        cmocka_unit_test(any_status_is_an_answer),
        cmocka_unit_test(a_head_call_waits_for_no_body),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(redirects_are_followed_only_when_asked),
        cmocka_unit_test(a_redirect_never_leaves_http),
        cmocka_unit_test(a_streamed_body_goes_to_the_caller),
        cmocka_unit_test(a_refusal_is_gathered_even_when_streaming),
        cmocka_unit_test(the_final_head_is_told_once_before_the_body),
        cmocka_unit_test(a_wish_to_be_asked_later_is_kept),
        cmocka_unit_test(a_server_may_be_known_by_another_name),
        cmocka_unit_test(calls_end_for_a_stated_reason),
        cmocka_unit_test(a_time_limit_on_a_reused_connection_is_a_timeout),
        cmocka_unit_test(a_unix_socket_stands_in_for_the_host),
        cmocka_unit_test(no_connection_says_where_and_what_to_do),
        cmocka_unit_test(a_forbidden_socket_says_who_may_use_it),
        cmocka_unit_test(a_client_serves_many_threads),
    };

    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
