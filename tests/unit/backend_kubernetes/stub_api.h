/* A stand-in for the API server: one thread that answers one call after another as the test says, and remembers them. For faults and orders of events that a
 * real one does not produce on demand. */
#ifndef TESTS_STUB_API_H
#define TESTS_STUB_API_H

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "backend/kubernetes/parts.h"
#include "base/pool.h"

struct stub_api {
    int listener;
    pthread_t thread;
    pthread_mutex_t lock;
    /* The answer to a call, and its status; called with `lock` held. Such as "GET /api/v1/pods"; `body` "" where there is none. */
    const char *(*answer)(struct stub_api *api, const char *call, const char *body, int *status);
    struct buf calls;                   /* under `lock`; a line each: method, path, body */
};

static inline bool stub_read_request(int fd, struct buf *request, const char **body)
{
    size_t wanted = SIZE_MAX;
    char chunk[4096];
    ssize_t got;

    while (request->len < wanted && (got = read(fd, chunk, sizeof(chunk))) > 0) {
        buf_append(request, chunk, (size_t)got);
        buf_append(request, "", 1);
        request->len--;
        char *end = strstr(request->data, "\r\n\r\n"), *length = strcasestr(request->data, "\r\ncontent-length:");
        if (end)
            wanted = (size_t)(end + 4 - request->data) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    }
    *body = request->data ? strstr(request->data, "\r\n\r\n") : NULL;
    return *body != NULL;
}

static inline void stub_serve(struct stub_api *api, int fd)
{
    cleanup_buf struct buf request = { 0 };
    const char *body;
    int status = 404;

    if (!stub_read_request(fd, &request, &body))
        return;
    const char *path = strchr(request.data, '/');
    if (str_starts_with(str_from(path), STR_LITERAL("//")))             /* to a proxy: the whole URL */
        path = strchr(path + 2, '/');
    cleanup_free char *call = xasprintf("%.*s %.*s", (int)strcspn(request.data, " "), request.data, (int)strcspn(path, "? "), path);
    pthread_mutex_lock(&api->lock);
    const char *answer = api->answer(api, call, body + 4, &status);
    buf_printf(&api->calls, "%s %s\n", call, body + 4);
    pthread_mutex_unlock(&api->lock);
    dprintf(fd, "HTTP/1.1 %d x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(answer), answer);
}

static inline void *stub_run(void *argument)
{
    struct stub_api *api = argument;
    int fd;

    while ((fd = accept(api->listener, NULL, NULL)) >= 0) {
        stub_serve(api, fd);
        close(fd);
    }
    return NULL;
}

static inline void stub_start(struct stub_api *api)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    pthread_mutex_init(&api->lock, NULL);
    api->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(api->listener, (struct sockaddr *)&any, sizeof(any)), errno);
    assert_return_code(listen(api->listener, 16), errno);
    api->thread = thread_start("stub-api", stub_run, api);
}

/* A client of it. `name`: it has the stub for a proxy, which is to reach a server of this name; NULL: it goes to the stub by its address. */
static inline struct kube_client *stub_client(const struct stub_api *api, const char *name)
{
    struct sockaddr_in own;
    socklen_t len = sizeof(own);
    struct error err = { 0 };
    char path[] = "/tmp/stub-kubeconfig-XXXXXX";
    int fd = mkstemp(path);

    assert_return_code(getsockname(api->listener, (struct sockaddr *)&own, &len), errno);
    cleanup_free char *address = xasprintf("127.0.0.1:%d", ntohs(own.sin_port));
    dprintf(fd, "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'http://%s', proxy-url: %s%s}}]\n",
            name ? name : address, name ? "http://" : "", name ? address : "null");
    close(fd);
    struct kube_config *config = kube_config_load(path, &err);
    unlink(path);
    if (!config)
        fail_msg("%s", err.text);
    return kube_client_new(config, &(struct kube_client_options){ .timeout_ms = 10000 }, &err);
}

static inline void stub_stop(struct stub_api *api)
{
    shutdown(api->listener, SHUT_RDWR);
    pthread_join(api->thread, NULL);
    close(api->listener);
    buf_free(&api->calls);
    pthread_mutex_destroy(&api->lock);
}

/* Whether a call that begins so was made. */
static inline bool stub_was_called(struct stub_api *api, const char *call)
{
    cleanup_free char *line = xasprintf("\n%s", call);

    pthread_mutex_lock(&api->lock);
    cleanup_free char *calls = xasprintf("\n%.*s", (int)api->calls.len, api->calls.data ? api->calls.data : "");
    pthread_mutex_unlock(&api->lock);
    return strstr(calls, line) != NULL;
}

#endif
