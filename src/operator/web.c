/* /healthz, /readyz, /metrics for the kubelet and Prometheus: one small answer a connection, one connection at a time, a time limit on each. Not for
 * the world: no authentication, and nothing secret in it. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "operator/internal.h"

enum { CONNECTION_TIMEOUT_S = 2, WAKE_MS = 100, REQUEST_MAX = 4096 };

struct web {
    struct operator *operator;
    int listener;
    pthread_t thread;
    atomic_bool stopping;
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

static void send_all(int fd, struct str data)
{
    while (data.len > 0) {
        ssize_t sent = send(fd, data.data, data.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data = str_skip(data, (size_t)sent);
    }
}

static void answer(struct web *web, int fd, struct str line)
{
    struct str method, target;
    struct page page = { .status = 405, .type = "text/plain; charset=utf-8" };
    cleanup_buf struct buf head = { 0 };

    if (!str_next_part(&line, ' ', &method) || !str_next_part(&line, ' ', &target))
        return;
    bool body = str_equal_text(method, "GET");
    if (body || str_equal_text(method, "HEAD"))
        fill(web, target, &page);
    buf_printf(&head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", page.status,
               reason_of(page.status), page.type, page.body.len);
    send_all(fd, buf_str(&head));
    if (body)
        send_all(fd, buf_str(&page.body));
    buf_free(&page.body);
}

/* Reads to the end of the head, so that closing does not reset the connection before the answer is read. */
static void serve(struct web *web, int fd)
{
    const struct timeval limit = { .tv_sec = CONNECTION_TIMEOUT_S };
    char head[REQUEST_MAX];
    size_t len = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    while (len < sizeof head) {
        ssize_t got = recv(fd, head + len, sizeof head - len, 0);
        if (got <= 0)
            return;
        len += (size_t)got;
        if (memmem(head, len, "\r\n\r\n", 4)) {
            size_t end = str_find_char(str_of(head, len), '\r');
            answer(web, fd, str_of(head, end));
            (void)shutdown(fd, SHUT_WR);
            return;
        }
    }
}

static void *run(void *argument)
{
    struct web *web = argument;

    while (!atomic_load(&web->stopping)) {
        struct pollfd wait = { .fd = web->listener, .events = POLLIN };
        if (poll(&wait, 1, WAKE_MS) <= 0)
            continue;
        cleanup_fd int fd = accept4(web->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            serve(web, fd);
    }
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
    cleanup_fd int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, errno, "the health endpoints");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, is_v6 ? (void *)&v6 : (void *)&v4, is_v6 ? sizeof v6 : sizeof v4) < 0 || listen(fd, 16) < 0)
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
