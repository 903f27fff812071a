/* The loop of a worker: wait, call what is ready, then what asked to be called again, then due timers; free what was buried; sleep. */
#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "gateway/client.h"
#include "gateway/gateway_private.h"
#include "gateway/lane.h"
#include "gateway/letter.h"
#include "gateway/terminal_socket.h"

#define BATCH 256
#define ACCEPTS_IN_A_ROW 64
#define SWEEP_MS 1000
#define PAUSE_MS 100

/* --- registration ------------------------------------------------------------------------------------------------ */

bool worker_watch(struct worker *worker, struct stream *stream)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = stream };
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, stream->fd, &event) == 0;
}

static bool watch_level(struct worker *worker, struct stream *stream)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = stream };
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, stream->fd, &event) == 0;
}

void worker_call_again(struct worker *worker, struct stream *stream)
{
    list_remove(&stream->again);
    list_append(&worker->again, &stream->again);
}

void worker_bury(struct worker *worker, struct burial *burial, void *object)
{
    burial->object = object;
    list_append(&worker->graveyard, &burial->node);
}

static void free_buried(struct worker *worker)
{
    for (struct list *node; (node = list_first(&worker->graveyard)) != NULL; ) {
        list_remove(node);
        free(LIST_ENTRY(node, struct burial, node)->object);
    }
}

/* A head that found no memory must not spoil those after it. */
struct buf *worker_out(struct worker *worker)
{
    if (worker->out.failed)
        buf_free(&worker->out);
    worker->out.len = 0;
    return &worker->out;
}

const struct policy_snapshot *worker_policies(struct worker *worker)
{
    struct policies *policies = worker->options->policies;
    uint64_t generation = policies_generation(policies);

    if (!worker->policies || generation != worker->policies_generation) {
        if (worker->policies)
            policy_snapshot_unref(worker->policies);
        worker->policies = policies_current(policies);
        worker->policies_generation = generation;
    }
    return worker->policies;
}

/* --- accepting ---------------------------------------------------------------------------------------------------- */

/* Too many connections: said plainly, in one write that fits any fresh socket's buffer. */
static void turn_away(int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nX-Request-Id: %s\r\nContent-Type: application/json\r\nContent-Length: 68\r\n"
        "Retry-After: 5\r\nConnection: close\r\n\r\n"
        "{\"error\":\"Too many connections, try again\",\"reason\":\"limit_reached\"}\n";
    char answer[sizeof(text) + 40], id[37];

    random_uuid4(id);
    int len = snprintf(answer, sizeof(answer), text, id);
    (void)!send(fd, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

/* Out of descriptors: the listener rests, instead of waking us for a connection that cannot be taken. */
static void pause_listener(struct worker *worker)
{
    if (worker->listener_paused)
        return;
    worker->listener_paused = true;
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->listener.fd, NULL);
    timer_set(&worker->timers, &worker->resume_listener, worker->now_ms + PAUSE_MS);
    log_warning("cannot accept connections: no free file descriptors", LOG_INT("worker", worker->index));
}

static void resume_listener(struct timer *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, resume_listener);
    worker->listener_paused = false;
    if (worker->listener.fd >= 0)
        (void)!watch_level(worker, &worker->listener);
}

static void listener_ready(struct stream *stream)
{
    struct worker *worker = CONTAINER_OF(stream, struct worker, listener);

    for (unsigned i = 0; i < ACCEPTS_IN_A_ROW; i++) {
        struct sockaddr_storage address = { 0 };
        socklen_t len = sizeof(address);
        int fd = accept4(stream->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_listener(worker);
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return;
        }
        if (!limits_enter_connection(gateway_limits(worker->gateway))) {
            turn_away(fd);
            continue;
        }
        stream_set_no_delay(fd);
        client_accept(worker, fd, &address);
    }
}

/* --- letters -------------------------------------------------------------------------------------------------------- */

static void letters_ready(struct stream *stream)
{
    struct worker *worker = CONTAINER_OF(stream, struct worker, letters);
    mailbox_deliver(worker->mailbox, worker);
}

static void each_client(struct worker *worker, void (*act)(struct client *client))
{
    LIST_FOR_EACH_SAFE(node, &worker->clients)
        act(LIST_ENTRY(node, struct client, node));
}

static void deliver_drain(struct mail *mail, void *reader)
{
    struct worker *worker = reader;
    free(mail);
    if (worker->draining)
        return;
    worker->draining = true;
    listener_ready(&worker->listener);          /* who has connected already is served */
    worker->turning_away = true;
    each_client(worker, client_drain);
}

static void deliver_stop(struct mail *mail, void *reader)
{
    free(mail);
    ((struct worker *)reader)->stopping = true;
}

static void discard_mail(struct mail *mail)
{
    free(mail);
}

static void post(struct worker *worker, void (*deliver)(struct mail *mail, void *reader))
{
    struct mail *mail = xcalloc(1, sizeof(*mail));
    mail->deliver = deliver;
    mail->discard = discard_mail;
    mailbox_post(worker->mailbox, mail);
}

void worker_post_drain(struct worker *worker) { post(worker, deliver_drain); }
void worker_post_stop(struct worker *worker) { post(worker, deliver_stop); }

/* --- the sweep ------------------------------------------------------------------------------------------------------- */

static void end_withdrawn(struct client *client)
{
    if (client->phase == CLIENT_SOCKET)
        terminal_socket_end(client, 1001, "Terminal stopped");
    else
        client_close(client);
    client_run(client);
}

static void sweep(struct timer *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, sweep);
    lanes_sweep(worker, end_withdrawn);
    if (!list_is_empty(&worker->lane_list))
        timer_set(&worker->timers, &worker->sweep, worker->now_ms + SWEEP_MS);
}

/* --- the loop ------------------------------------------------------------------------------------------------------- */

static void take_config(struct worker *worker)
{
    struct config *config = gateway_config(worker->gateway);
    config_unref(worker->config);
    worker->config = config;
}

static void call_ready(struct stream *stream, uint32_t events)
{
    if (stream->fd < 0)
        return;                 /* closed earlier in this batch */
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        stream->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        stream->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        stream->hangup = true;
    if (events & (EPOLLHUP | EPOLLERR))
        stream->broken = true;
    stream->ready(stream);
}

/* Only those that are in the list now: what they put there waits for the next round. */
static void call_again(struct worker *worker)
{
    struct list now = LIST_INIT(now);

    for (struct list *node; (node = list_first(&worker->again)) != NULL; ) {
        list_remove(node);
        list_append(&now, node);
    }
    for (struct list *node; (node = list_first(&now)) != NULL; ) {
        struct stream *stream = LIST_ENTRY(node, struct stream, again);
        list_remove(node);
        if (stream->fd >= 0)
            stream->ready(stream);
    }
}

static void run_batch(struct worker *worker)
{
    struct epoll_event events[BATCH];
    int patience = list_is_empty(&worker->again) ? timers_wait_ms(&worker->timers, worker->now_ms) : 0;
    int count = epoll_wait(worker->epoll_fd, events, BATCH, patience);

    worker->now_ms = clock_monotonic_ms();
    if (gateway_config_changed(worker->gateway, worker->config))
        take_config(worker);
    for (int i = 0; i < count; i++)
        call_ready(events[i].data.ptr, events[i].events);
    call_again(worker);
    timers_run(&worker->timers, worker->now_ms);
    free_buried(worker);
}

static void shut_down(struct worker *worker)
{
    each_client(worker, client_close);
    lanes_free(worker);
    free_buried(worker);
    mailbox_close(worker->mailbox);
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;

    while (!worker->stopping)
        run_batch(worker);
    shut_down(worker);
    return NULL;
}

/* --- making -------------------------------------------------------------------------------------------------------- */

struct worker *worker_new(struct gateway *gateway, const struct gateway_options *options, unsigned index, int listen_fd,
                          struct error *err)
{
    struct worker *worker = xcalloc(1, sizeof(*worker));

    worker->gateway = gateway;
    worker->options = options;
    worker->index = index;
    worker->now_ms = clock_monotonic_ms();
    worker->mailbox = mailbox_new();
    worker->scratch = xmalloc(SCRATCH_SIZE);
    worker->config = gateway_config(gateway);
    worker->stats = stats_new();
    timers_init(&worker->timers, worker->now_ms);
    timer_init(&worker->sweep, sweep);
    timer_init(&worker->resume_listener, resume_listener);
    list_init(&worker->clients);
    list_init(&worker->again);
    list_init(&worker->graveyard);
    list_init(&worker->lane_list);
    stream_init(&worker->listener, listen_fd, listener_ready);
    stream_init(&worker->letters, mailbox_fd(worker->mailbox), letters_ready);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd >= 0 && watch_level(worker, &worker->listener) && watch_level(worker, &worker->letters))
        return worker;
    error_set_errno(err, ERR_IO, errno, "setting up a worker");
    worker_free(worker);
    return NULL;
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    stream_close(&worker->listener);
    if (worker->epoll_fd >= 0)
        (void)close(worker->epoll_fd);
    mailbox_unref(worker->mailbox);
    if (worker->policies)
        policy_snapshot_unref(worker->policies);
    config_unref(worker->config);
    stats_free(worker->stats);
    buf_free(&worker->out);
    free(worker->scratch);
    free(worker);
}
