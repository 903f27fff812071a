/* The prober's thread owns all probes; other threads only leave requests in `requests` and ring the bell. A probe is either waiting for
 * its next try (no socket) or has one socket in the epoll set. At most MAX_OPEN sockets are open at once, so that the
 * adoption of thousands of guests at a restart does not take all descriptors. */
#include "fleet/probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/pool.h"
#include "http/head.h"

enum {
    MAX_OPEN = 256,
    MAX_RESPONSE = 16384,           /* bytes of a head; a guest is hostile */
    ATTEMPT_TIMEOUT_MS = 5000,
    LONGEST_WAIT_MS = 60000,
};

struct probe {
    struct list node;               /* in `probes` */
    uint64_t id;
    struct endpoint endpoint;
    int64_t started_ms, give_up_at_ms;      /* INT64_MAX: never */
    int64_t due_ms;                 /* waiting: the next try; else: the end of this one */
    int fd;                         /* -1 while waiting */
    bool sent;
    struct buf response;
    size_t scanned;
    enum probe_result last_failure;
};

struct request {
    struct list node;
    struct probe *add;              /* NULL: cancel `id` */
    uint64_t id;
};

struct prober {
    probe_report_fn *report;
    void *context;
    pthread_t thread;
    int epoll, bell;
    _Atomic uint64_t last_id;
    _Atomic bool stopping;
    pthread_mutex_t lock;
    struct list requests;           /* under `lock` */
    struct list probes;             /* the thread's own, as all below */
    unsigned open;
};

int64_t probe_retry_delay_ms(int64_t elapsed_ms)
{
    return elapsed_ms < 5000 ? 4 : elapsed_ms < 30000 ? 100 : 500;
}

/* --- one probe --- */

static void probe_close(struct prober *prober, struct probe *probe)
{
    if (probe->fd < 0)
        return;
    (void)close(probe->fd);
    probe->fd = -1;
    prober->open--;
    buf_free(&probe->response);
}

static void probe_end(struct prober *prober, struct probe *probe)
{
    probe_close(prober, probe);
    list_remove(&probe->node);
    free(probe);
}

static void probe_finish(struct prober *prober, struct probe *probe, enum probe_result result)
{
    uint64_t id = probe->id;
    probe_end(prober, probe);
    prober->report(prober->context, id, result);
}

static void probe_fail(struct prober *prober, struct probe *probe, enum probe_result why, int64_t now)
{
    probe_close(prober, probe);
    probe->last_failure = why;
    if (now >= probe->give_up_at_ms)
        probe_finish(prober, probe, why);
    else
        probe->due_ms = now + probe_retry_delay_ms(now - probe->started_ms);
}

static enum probe_result failure_of_errno(int number)
{
    return number == ECONNREFUSED || number == ENOENT ? PROBE_REFUSED : PROBE_UNREACHABLE;
}

static bool probe_watch(struct prober *prober, struct probe *probe, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = probe };
    return epoll_ctl(prober->epoll, operation, probe->fd, &event) == 0;
}

static void probe_connect(struct prober *prober, struct probe *probe, int64_t now)
{
    probe->fd = socket(probe->endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd < 0)
        return probe_fail(prober, probe, PROBE_UNREACHABLE, now);
    prober->open++;
    probe->sent = false;
    probe->scanned = 0;
    probe->response.limit = MAX_RESPONSE;
    probe->due_ms = now + ATTEMPT_TIMEOUT_MS;
    if (connect(probe->fd, (const struct sockaddr *)&probe->endpoint.address, probe->endpoint.address_len) < 0 &&
        errno != EINPROGRESS)
        return probe_fail(prober, probe, failure_of_errno(errno), now);
    if (!probe_watch(prober, probe, EPOLL_CTL_ADD, EPOLLOUT))
        probe_fail(prober, probe, PROBE_UNREACHABLE, now);
}

static void probe_send(struct prober *prober, struct probe *probe, int64_t now)
{
    int number = 0;
    socklen_t len = sizeof number;
    (void)getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &number, &len);
    if (number != 0)
        return probe_fail(prober, probe, failure_of_errno(number), now);
    char request[512];
    int size = snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                        probe->endpoint.address.ss_family == AF_UNIX ? "localhost" : probe->endpoint.host);
    probe->sent = true;
    if (send(probe->fd, request, (size_t)size, MSG_NOSIGNAL) != size ||
        !probe_watch(prober, probe, EPOLL_CTL_MOD, EPOLLIN))
        probe_fail(prober, probe, PROBE_SILENT, now);
}

static void probe_judge(struct prober *prober, struct probe *probe, bool ended, int64_t now)
{
    struct http_response response;
    size_t consumed;
    const char *why;
    enum http_parse_result result = http_parse_response(buf_str(&probe->response), &probe->scanned, HTTP_GET, &response, &consumed, &why);
    if (result == HTTP_COMPLETE && response.status == 200)
        return probe_finish(prober, probe, PROBE_HEALTHY);
    if (result != HTTP_INCOMPLETE || ended || probe->response.len >= MAX_RESPONSE)
        probe_fail(prober, probe, PROBE_SILENT, now);
}

static void probe_receive(struct prober *prober, struct probe *probe, int64_t now)
{
    char data[2048];
    ssize_t size = recv(probe->fd, data, sizeof data, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0)
        (void)buf_append(&probe->response, data, (size_t)size);
    probe_judge(prober, probe, size <= 0 || probe->response.failed, now);
}

/* --- the thread --- */

static void prober_cancel_now(struct prober *prober, uint64_t id)
{
    LIST_FOR_EACH(node, &prober->probes) {
        struct probe *probe = LIST_ENTRY(node, struct probe, node);
        if (probe->id == id)
            return probe_end(prober, probe);
    }
}

static void take_requests(struct prober *prober)
{
    uint64_t rings;
    (void)!read(prober->bell, &rings, sizeof rings);
    for (;;) {
        pthread_mutex_lock(&prober->lock);
        struct list *node = list_first(&prober->requests);
        if (node)
            list_remove(node);
        pthread_mutex_unlock(&prober->lock);
        if (!node)
            return;
        struct request *request = LIST_ENTRY(node, struct request, node);
        if (request->add)
            list_append(&prober->probes, &request->add->node);
        else
            prober_cancel_now(prober, request->id);
        free(request);
    }
}

/* Begins tries that are due, ends those that took too long. Gives how long nothing else will be due. */
static int64_t run_due(struct prober *prober, int64_t now)
{
    int64_t next = now + LONGEST_WAIT_MS;
    LIST_FOR_EACH_SAFE(node, &prober->probes) {
        struct probe *probe = LIST_ENTRY(node, struct probe, node);
        if (probe->fd >= 0 && probe->due_ms <= now) {
            probe_fail(prober, probe, probe->sent ? PROBE_SILENT : PROBE_UNREACHABLE, now);
            next = now;             /* the probe may be gone: look again */
        } else if (probe->fd < 0 && probe->due_ms <= now && prober->open < MAX_OPEN) {
            probe_connect(prober, probe, now);
            next = next < now + 1 ? next : now + 1;
        } else if (probe->due_ms > now && probe->due_ms < next) {
            next = probe->due_ms;
        }
    }
    return next - now;
}

static void *prober_run(void *argument)
{
    struct prober *prober = argument;
    struct epoll_event events[64];
    while (!atomic_load(&prober->stopping)) {
        int64_t wait_ms = run_due(prober, clock_monotonic_ms());
        int count = epoll_wait(prober->epoll, events, COUNT_OF(events), (int)wait_ms);
        int64_t now = clock_monotonic_ms();
        bool rung = false;
        for (int i = 0; i < count; i++) {
            struct probe *probe = events[i].data.ptr;
            if (!probe)
                rung = true;
            else if (probe->sent)
                probe_receive(prober, probe, now);
            else
                probe_send(prober, probe, now);
        }
        if (rung)
            take_requests(prober);
    }
    return NULL;
}

/* --- for other threads --- */

struct prober *prober_new(probe_report_fn *report, void *context)
{
    struct prober *prober = xcalloc(1, sizeof *prober);
    prober->report = report;
    prober->context = context;
    pthread_mutex_init(&prober->lock, NULL);
    list_init(&prober->requests);
    list_init(&prober->probes);
    prober->epoll = epoll_create1(EPOLL_CLOEXEC);
    prober->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(prober->epoll >= 0 && prober->bell >= 0);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    ASSERT(epoll_ctl(prober->epoll, EPOLL_CTL_ADD, prober->bell, &event) == 0);
    prober->thread = thread_start("probe", prober_run, prober);
    return prober;
}

static void ring(struct prober *prober)
{
    (void)!write(prober->bell, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void leave_request(struct prober *prober, struct probe *add, uint64_t id)
{
    struct request *request = xcalloc(1, sizeof *request);
    request->add = add;
    request->id = id;
    pthread_mutex_lock(&prober->lock);
    list_append(&prober->requests, &request->node);
    pthread_mutex_unlock(&prober->lock);
    ring(prober);
}

uint64_t prober_add(struct prober *prober, const struct endpoint *endpoint, int64_t give_up_ms)
{
    struct probe *probe = xcalloc(1, sizeof *probe);
    uint64_t id = atomic_fetch_add(&prober->last_id, 1) + 1;
    probe->id = id;
    probe->endpoint = *endpoint;
    probe->fd = -1;
    probe->started_ms = clock_monotonic_ms();
    probe->give_up_at_ms = give_up_ms > 0 ? probe->started_ms + give_up_ms : INT64_MAX;
    leave_request(prober, probe, id);
    return id;
}

void prober_cancel(struct prober *prober, uint64_t id)
{
    leave_request(prober, NULL, id);
}

void prober_free(struct prober *prober)
{
    if (!prober)
        return;
    atomic_store(&prober->stopping, true);
    ring(prober);
    pthread_join(prober->thread, NULL);
    take_requests(prober);
    LIST_FOR_EACH_SAFE(node, &prober->probes)
        probe_end(prober, LIST_ENTRY(node, struct probe, node));
    (void)close(prober->epoll);
    (void)close(prober->bell);
    pthread_mutex_destroy(&prober->lock);
    free(prober);
}
