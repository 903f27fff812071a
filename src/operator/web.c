/* /healthz, /readyz, /metrics for the kubelet and Prometheus: one small answer a connection, and a time limit on each. Not for the world: no
 * authentication, and nothing secret in it.
 *
 * Any pod may reach the port, and a probe must be answered all the same, since the kubelet restarts us when it is not. So one thread serves all connections
 * as bytes come, waits for none, and where there are too many, the one that is oldest has to go: a probe asks at once and is answered at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "operator/internal.h"

enum { CONNECTIONS_MAX = 64, CONNECTION_TIMEOUT_MS = 5000, WAKE_MS = 100, REQUEST_MAX = 4096, BACKLOG = 128 };

struct connection {
    int fd;
    int64_t deadline_ms;                /* monotonic: for all of it */
    char head[REQUEST_MAX];
    size_t head_len;
    struct buf answer;                  /* empty until the head is complete */
    size_t sent;
};

struct web {
    struct operator *operator;
    int listener;
    pthread_t thread;
    atomic_bool stopping;
    struct connection *connections[CONNECTIONS_MAX];    /* the thread's own; oldest first */
    size_t count;
};

/* --- answers --- */

struct page {
    int status;
    const char *type;
    struct buf body;
};

static bool is_path(struct str target, const char *path)
{
    size_t query = str_find_char(target, '?');

    return str_equal_text(str_of(target.data, query == SIZE_MAX ? target.len : query), path);
}

static void fill(struct web *web, struct str target, struct page *page)
{
    *page = (struct page){ .status = 200, .type = "text/plain; charset=utf-8" };
    if (is_path(target, "/healthz")) {
        buf_append_text(&page->body, "ok\n");
    } else if (is_path(target, "/readyz")) {
        bool synced = atomic_load(&web->operator->synced);
        page->status = synced ? 200 : 503;
        buf_append_text(&page->body, !synced ? "the first listings are not complete\n" :
                                     lease_is_held(web->operator->lease) ? "ready, leading\n" : "ready, another replica leads\n");
    } else if (is_path(target, "/metrics")) {
        page->type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_render(&page->body);
    } else {
        page->status = 404;
        buf_append_text(&page->body, "there are /healthz, /readyz and /metrics\n");
    }
}

static const char *reason_of(int status)
{
    return status == 200 ? "OK" : status == 404 ? "Not Found" : status == 405 ? "Method Not Allowed" : "Service Unavailable";
}

/* Leaves the answer empty where the line is no request. */
static void answer(struct web *web, struct connection *connection, struct str line)
{
    struct str method, target;
    struct page page = { .status = 405, .type = "text/plain; charset=utf-8" };

    if (!str_next_part(&line, ' ', &method) || !str_next_part(&line, ' ', &target))
        return;
    bool body = str_equal_text(method, "GET");
    if (body || str_equal_text(method, "HEAD"))
        fill(web, target, &page);
    buf_printf(&connection->answer, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", page.status,
               reason_of(page.status), page.type, page.body.len);
    if (body)
        buf_append_str(&connection->answer, buf_str(&page.body));
    buf_free(&page.body);
}

/* --- connections: each function below returns false when the connection is over --- */

/* Reads to the end of the head, so that closing does not reset the connection before the answer is read. */
static bool receive(struct web *web, struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->head + connection->head_len, sizeof connection->head - connection->head_len, 0);

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    connection->head_len += (size_t)got;
    if (memmem(connection->head, connection->head_len, "\r\n\r\n", 4)) {
        size_t end = str_find_char(str_of(connection->head, connection->head_len), '\r');
        answer(web, connection, str_of(connection->head, end));
        return connection->answer.len > 0;
    }
    return connection->head_len < sizeof connection->head;
}

static bool transmit(struct connection *connection)
{
    struct str rest = str_skip(buf_str(&connection->answer), connection->sent);
    ssize_t sent = send(connection->fd, rest.data, rest.len, MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)sent;
    if (connection->sent < connection->answer.len)
        return true;
    (void)shutdown(connection->fd, SHUT_WR);
    return false;
}

static bool advance(struct web *web, struct connection *connection)
{
    if (connection->answer.len == 0 && !receive(web, connection))
        return false;
    return connection->answer.len == 0 || transmit(connection);
}

static void drop(struct web *web, size_t index)
{
    struct connection *connection = web->connections[index];

    (void)close(connection->fd);
    buf_free(&connection->answer);
    free(connection);
    web->count--;
    memmove(web->connections + index, web->connections + index + 1, (web->count - index) * sizeof *web->connections);
}

/* Most have asked already, and are over before the next is taken. */
static void take_connection(struct web *web)
{
    int fd = accept4(web->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (web->count == CONNECTIONS_MAX)
        drop(web, 0);
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->fd = fd;
    connection->deadline_ms = clock_monotonic_ms() + CONNECTION_TIMEOUT_MS;
    web->connections[web->count++] = connection;
    if (!advance(web, connection))
        drop(web, web->count - 1);
}

static void serve_connections(struct web *web, const struct pollfd *waits)
{
    int64_t now_ms = clock_monotonic_ms();

    for (size_t i = web->count; i-- > 0;) {
        bool goes_on = waits[i].revents == 0 || advance(web, web->connections[i]);
        if (!goes_on || now_ms >= web->connections[i]->deadline_ms)
            drop(web, i);
    }
}

static void *run(void *argument)
{
    struct web *web = argument;
    struct pollfd waits[CONNECTIONS_MAX + 1];

    while (!atomic_load(&web->stopping)) {
        size_t count = web->count;
        for (size_t i = 0; i < count; i++)
            waits[i] = (struct pollfd){ .fd = web->connections[i]->fd, .events = web->connections[i]->answer.len ? POLLOUT : POLLIN };
        waits[count] = (struct pollfd){ .fd = web->listener, .events = POLLIN };
        if (poll(waits, count + 1, WAKE_MS) < 0)
            continue;
        serve_connections(web, waits);
        if (waits[count].revents)
            take_connection(web);
    }
    while (web->count > 0)
        drop(web, web->count - 1);
    return NULL;
}

/* --- listening --- */

static int listen_on(const char *host, unsigned port, struct error *err)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    bool is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
    int one = 1;

    if (!is_v6 && inet_pton(AF_INET, host, &v4.sin_addr) != 1)
        v4.sin_addr.s_addr = htonl(INADDR_ANY);
    cleanup_fd int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, errno, "the health endpoints");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, is_v6 ? (void *)&v6 : (void *)&v4, is_v6 ? sizeof v6 : sizeof v4) < 0 || listen(fd, BACKLOG) < 0)
        return error_set_errno(err, ERR_IO, errno, "the health endpoints cannot listen on port %u (TERMINALS_OPERATOR_PORT)", port);
    int taken = fd;
    fd = -1;
    return taken;
}

struct web *web_start(struct operator *operator, const char *host, unsigned port, struct error *err)
{
    int listener = listen_on(host, port, err);

    if (listener < 0)
        return NULL;
    struct web *web = xcalloc(1, sizeof *web);
    web->operator = operator;
    web->listener = listener;
    web->thread = thread_start("health", run, web);
    return web;
}

void web_stop(struct web *web)
{
    atomic_store(&web->stopping, true);
    (void)pthread_join(web->thread, NULL);
    (void)close(web->listener);
    free(web);
}
