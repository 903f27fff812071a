/* Calls against a server that answers what a test has written down: what is sent, what is sent again and when, what answers mean, how streams end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/json.h"
#include "kubernetes/config_parts.h"
#include "kubernetes/informer.h"
#include "kubernetes/object.h"
#include "kubernetes/request.h"

/* --- the server -------------------------------------------------------------------------------------------------- */

/* One answer a connection, in the order in which connections come; the last one is given for ever. */
struct server {
    int listener;
    pthread_t thread;
    unsigned port;
    const char *const *answers;
    atomic_uint asked;
    atomic_bool stop;
    char last[8192];            /* the last request; read when nothing is under way */
};

static void read_request(int fd, char *text, size_t size)
{
    size_t len = 0;

    while (len + 1 < size) {
        ssize_t got = recv(fd, text + len, size - 1 - len, 0);
        if (got <= 0)
            break;
        len += (size_t)got;
        text[len] = '\0';
        char *end = strstr(text, "\r\n\r\n"), *field = strcasestr(text, "\r\nContent-Length: ");
        uint64_t body = 0;
        if (field)
            (void)str_to_u64(str_of(field + 18, strcspn(field + 18, "\r")), &body);
        if (end && len >= (size_t)(end + 4 - text) + body)
            break;
    }
}

static void *run_server(void *argument)
{
    struct server *server = argument;

    while (!atomic_load(&server->stop)) {
        struct pollfd waiting = { .fd = server->listener, .events = POLLIN };
        if (poll(&waiting, 1, 20) <= 0)
            continue;
        int fd = accept(server->listener, NULL, NULL);
        read_request(fd, server->last, sizeof(server->last));
        unsigned number = 0;
        for (unsigned asked = atomic_load(&server->asked); number < asked && server->answers[number + 1]; number++)
            ;
        const char *answer = server->answers[number];
        /* Counted before it is answered: a test that has its answer sees the count. */
        atomic_fetch_add(&server->asked, 1);
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        if (strstr(answer, "X-Silence"))
            (void)usleep(600000);
        close(fd);
    }
    return NULL;
}

static void start_server(struct server *server, const char *const *answers)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(loopback);

    *server = (struct server){ .answers = answers, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_int_equal(bind(server->listener, (struct sockaddr *)&loopback, sizeof(loopback)), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&loopback, &len), 0);
    server->port = ntohs(loopback.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void stop_server(struct server *server)
{
    atomic_store(&server->stop, true);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

static struct kube_client *new_client(const struct server *server, struct kube_client_options options)
{
    cleanup_free char *text = xasprintf("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
                                        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%u'}}]\nusers: [{name: u, user: {token: t0ken}}]\n",
                                        server->port);
    struct error err = { 0 };
    struct kube_config *config = kube_config_read(str_from(text), "", "a test", &err);
    struct kube_client *client;

    if (!config)
        fail_msg("%s", err.text);
    client = kube_client_new(config, &options, &err);
    assert_non_null(client);
    return client;
}

/* Answers end with their connection, so that none needs a length. */
#define ANSWER(status, fields, body) "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Type: application/json\r\n" fields "\r\n" body
#define STATUS(code, reason, message) "{\"kind\":\"Status\",\"code\":" code ",\"reason\":\"" reason "\",\"message\":\"" message "\"}"
#define CHUNKED(chunks) "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" chunks
#define CHUNK(size, text) size "\r\n" text "\r\n"

/* --- what is sent ------------------------------------------------------------------------------------------------ */

static void calls_go_where_the_kind_says(void **state)
{
    static const char *const answers[] = { ANSWER("200 OK", "", "{}"), NULL };
    static const struct kube_resource widgets = { "example.org", "v1alpha1", "widgets", "Widget", false };
    cleanup_json json_t *object = json_pack("{s:{s:s}}", "metadata", "name", "w1");
    struct server server;
    start_server(&server, answers);
    struct kube_client *client = new_client(&server, (struct kube_client_options){ 0 });
    struct error err = { 0 };
    struct kube_delete_options guard = { .uid = "u1", .grace_s = 5 };
    char version[64];
    const struct {
        int result;
        const char *request, *also, *never;
    } rows[] = {
#define SENT(call) (call), xstrdup(server.last)
        { SENT(kube_create(client, &widgets, "team", object, NULL, &err)), "{\"metadata\":{\"name\":\"w1\"},\"apiVersion\":\"example.org/v1alpha1\",\"kind\":\"Widget\"}", NULL },
        { SENT(kube_apply(client, &widgets, "team", object, "status", "me & you", true, NULL, &err)),
          "PATCH /apis/example.org/v1alpha1/namespaces/team/widgets/w1/status?fieldManager=me%20%26%20you&force=true HTTP", NULL },
        { SENT(kube_apply(client, &widgets, "team", object, NULL, "me", false, NULL, &err)), "Content-Type: application/apply-patch+yaml\r\n", "force" },
        { SENT(kube_merge_patch(client, &widgets, "team", "w1", NULL, object, NULL, &err)), "Content-Type: application/merge-patch+json\r\n", NULL },
        { SENT(kube_replace(client, &KUBE_PODS, "team", object, NULL, &err)), "PUT /api/v1/namespaces/team/pods/w1 HTTP", NULL },
        { SENT(kube_delete(client, &KUBE_PODS, "team", "w1", &guard, &err)),
          "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"u1\"},\"gracePeriodSeconds\":5}", NULL },
        { SENT(kube_delete(client, &KUBE_PODS, "team", "w1", NULL, &err)), "DELETE /api/v1/namespaces/team/pods/w1 HTTP", "gracePeriod" },
        { SENT(kube_create(client, &KUBE_NAMESPACES, "ignored", object, NULL, &err)), "POST /api/v1/namespaces HTTP", "ignored" },
        { SENT(kube_list(client, &KUBE_PODS, NULL, "a=b,c in (d, e)", NULL, NULL, version, &err)),
          "GET /api/v1/pods?limit=500&labelSelector=a%3Db%2Cc%20in%20%28d%2C%20e%29 HTTP", "Content-" },
        { SENT(kube_get_path(client, "/version", NULL, &err)), "GET /version HTTP/1.1\r\n", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *sent = rows[i].request;
        if (rows[i].result < 0)
            fail_msg("row %zu: %s", i, err.text);
        if (!strstr(sent, rows[i].also) || (rows[i].never && strstr(sent, rows[i].never)) || !strstr(sent, "\r\nAuthorization: Bearer t0ken\r\n"))
            fail_msg("row %zu: '%s' is not in\n%s", i, rows[i].also, sent);
        free((char *)sent);
    }
    kube_client_free(client);
    stop_server(&server);
}

static void names_that_could_mean_another_path_are_refused(void **state)
{
    static const struct {
        const char *namespace, *name, *path;
    } rows[] = {
        { "a", "b", "/api/v1/namespaces/a/pods/b" }, { NULL, NULL, "/api/v1/pods" }, { "a", NULL, "/api/v1/namespaces/a/pods" },
        { "a", "b?c#d e", "/api/v1/namespaces/a/pods/b%3Fc%23d%20e" }, { "a", "", NULL }, { "", "b", NULL }, { "a", "..", NULL }, { "a", ".", NULL },
        { "a", "b/log", NULL }, { "a/..", "b", NULL }, { "a", "b%2Flog", NULL }, { "a", "b\r\n", NULL }, { "a", "\xc3\xbc", "/api/v1/namespaces/a/pods/%C3%BC" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct kube_target target = { &KUBE_PODS, rows[i].namespace, rows[i].name, NULL };
        cleanup_buf struct buf path = { 0 };
        struct error err = { 0 };
        int result = kube_path(&target, &path, &err);
        if ((result == 0) != (rows[i].path != NULL) || (rows[i].path && strcmp(path.data, rows[i].path) != 0))
            fail_msg("row %zu: %d %s", i, result, path.data);
        assert_true(result == 0 || err.class == ERR_INVALID);
    }
}

/* --- what answers mean ------------------------------------------------------------------------------------------- */

static void refusals_have_classes_and_the_servers_words(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum error_class class;
        const char *text;
    } rows[] = {
        { 404, STATUS("404", "NotFound", "pods \\\"a\\\" not found"), ERR_NOT_FOUND, "pods \"a\" not found" },
        { 409, STATUS("409", "AlreadyExists", "exists"), ERR_CONFLICT, "exists" },
        { 401, STATUS("401", "Unauthorized", "Unauthorized"), ERR_FORBIDDEN, "Unauthorized" },
        { 403, STATUS("403", "Forbidden", "pods is forbidden"), ERR_FORBIDDEN, "pods is forbidden" },
        { 403, STATUS("403", "Forbidden", "pods \\\"x\\\" is forbidden: exceeded quota: q, requested: pods=1"), ERR_NO_CAPACITY, "exceeded quota: q" },
        { 403, STATUS("403", "Forbidden", "violates PodSecurity \\\"restricted\\\""), ERR_FORBIDDEN, "PodSecurity" },
        { 422, STATUS("422", "Invalid", "spec.x: Invalid value"), ERR_INVALID, "spec.x" },
        { 400, STATUS("400", "BadRequest", "bad"), ERR_INVALID, "bad" },
        { 413, "", ERR_INVALID, "answered 413" },
        { 429, STATUS("429", "TooManyRequests", "slow down"), ERR_LIMIT, "slow down" },
        { 500, STATUS("500", "InternalError", "failed calling webhook"), ERR_UNAVAILABLE, "webhook" },
        { 503, "<html>\n", ERR_UNAVAILABLE, "answered 503: <html>" },
        { 502, "a\nb", ERR_UNAVAILABLE, "the API server answered 502" },
        { 302, "", ERR_INVALID, "answered 302" },
        { 410, STATUS("410", "Expired", "too old resource version: 1 (2)"), ERR_CONFLICT, "expired: too old" },
        { 410, "{\"kind\":\"Status\"}", ERR_CONFLICT, "expired: the API server answered 410" },
        { 504, "{\"kind\":\"Status\",\"code\":504,\"message\":\"Too large resource version\",\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\"}]}}",
          ERR_CONFLICT, "expired: Too large" },
        { 504, STATUS("504", "Timeout", "timed out"), ERR_UNAVAILABLE, "timed out" },
        { 500, "{\"kind\":\"Status\",\"code\":200,\"reason\":\"Odd\"}", ERR_UNAVAILABLE, "Odd" },
        { 500, "{\"kind\":\"Pod\",\"message\":\"x\"}", ERR_UNAVAILABLE, "answered 500: {" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        assert_int_equal(kube_status_error(rows[i].status, str_from(rows[i].body), &err), -1);
        if (err.class != rows[i].class || !strstr(err.text, rows[i].text))
            fail_msg("row %zu: %s: %s", i, error_class_name(err.class), err.text);
        assert_int_equal(kube_error_is_expired(&err), strncmp(rows[i].text, "expired", 7) == 0);
    }
}

struct repeat_row {
    const char *name, *answers[4];
    bool create;
    int64_t timeout_ms, at_least_ms;
    unsigned asked;
    enum error_class class;             /* ERR_NONE: it succeeds */
};

static void what_may_be_sent_again_is_sent_again(void **state)
{
#define BUSY(seconds) ANSWER("429 Too Many Requests", "Retry-After: " seconds "\r\n", STATUS("429", "TooManyRequests", "busy"))
#define OLD_QUOTA ANSWER("409 Conflict", "", STATUS("409", "Conflict", "Operation cannot be fulfilled on resourcequotas \\\"q\\\": the object has been modified"))
    static const struct repeat_row rows[] = {
        { "at once", { ANSWER("200 OK", "", "{}") }, false, 0, 0, 1, ERR_NONE },
        { "429 is waited out", { BUSY("1"), ANSWER("200 OK", "", "{}") }, false, 0, 1000, 2, ERR_NONE },
        { "also for what is made", { BUSY("1"), ANSWER("201 Created", "", "{}") }, true, 0, 1000, 2, ERR_NONE },
        { "but not beyond the call's time", { BUSY("60") }, false, 500, 0, 1, ERR_LIMIT },
        { "and not for ever", { BUSY("1") }, false, 2600, 1000, 3, ERR_LIMIT },
        { "503 with Retry-After", { ANSWER("503 Busy", "Retry-After: 1\r\n", ""), ANSWER("200 OK", "", "{}") }, false, 0, 1000, 2, ERR_NONE },
        { "503 without", { ANSWER("503 Busy", "", "") }, false, 0, 0, 1, ERR_UNAVAILABLE },
        { "500", { ANSWER("500 Oops", "", STATUS("500", "InternalError", "oops")) }, true, 0, 0, 1, ERR_UNAVAILABLE },
        { "a refused token that stays the same", { ANSWER("401 Unauthorized", "", "") }, false, 0, 0, 1, ERR_FORBIDDEN },
        { "a busy quota", { OLD_QUOTA, OLD_QUOTA, ANSWER("201 Created", "", "{}") }, true, 0, 0, 3, ERR_NONE },
        { "a quota that is always busy", { OLD_QUOTA }, true, 0, 0, 6, ERR_CONFLICT },
        { "what is there already", { ANSWER("409 Conflict", "", STATUS("409", "AlreadyExists", "exists")) }, true, 0, 0, 1, ERR_CONFLICT },
        { "an answer that is no JSON", { ANSWER("200 OK", "", "<html>") }, false, 0, 0, 1, ERR_INVALID },
    };
    cleanup_json json_t *object = json_pack("{s:{s:s}}", "metadata", "name", "a");

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct repeat_row *row = &rows[i];
        struct server server;
        start_server(&server, row->answers);
        struct kube_client *client = new_client(&server, (struct kube_client_options){ .timeout_ms = row->timeout_ms });
        struct error err = { 0 };
        json_t *result = NULL;
        int64_t begin = clock_monotonic_ms();
        int outcome = row->create ? kube_create(client, &KUBE_PODS, "a", object, &result, &err) : kube_get(client, &KUBE_PODS, "a", "a", &result, &err);
        int64_t took = clock_monotonic_ms() - begin;
        if ((outcome == 0) != (row->class == ERR_NONE) || (outcome < 0 && err.class != row->class) || atomic_load(&server.asked) != row->asked ||
            took < row->at_least_ms)
            fail_msg("%s: %d %s: %s, asked %u times in %lld ms", row->name, outcome, error_class_name(err.class), err.text,
                     atomic_load(&server.asked), (long long)took);
        assert_true((result != NULL) == (outcome == 0));
        json_decref(result);
        kube_client_free(client);
        stop_server(&server);
    }
}

/* --- lists and streams ------------------------------------------------------------------------------------------- */

struct seen {
    struct buf text;            /* names, with a sign each */
    bool stop;
};

static bool see_listed(void *context, const json_t *object)
{
    struct seen *seen = context;
    buf_printf(&seen->text, "%s ", kube_name(object));
    return !seen->stop;
}

static void see_begin(void *context) { buf_append_text(&((struct seen *)context)->text, "[ "); }

#define ITEM(name) "{\"metadata\":{\"name\":\"" name "\"}}"
#define PAGE(version, token, items) "{\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" token "\"},\"items\":[" items "]}"
#define GONE ANSWER("410 Gone", "", STATUS("410", "Expired", "the provided continue parameter is too old"))

static void lists_are_put_together_from_pages(void **state)
{
    static const struct {
        const char *name, *answers[6], *seen, *version, *error;
        bool stop;
    } rows[] = {
        { "one page", { ANSWER("200 OK", "", PAGE("5", "", ITEM("a") "," ITEM("b"))) }, "[ a b ", "5", NULL, false },
        { "two pages", { ANSWER("200 OK", "", PAGE("5", "x&y", ITEM("a"))), ANSWER("200 OK", "", PAGE("6", "", ITEM("b"))) }, "[ a b ", "6", NULL, false },
        { "stopped", { ANSWER("200 OK", "", PAGE("5", "more", ITEM("a") "," ITEM("b"))) }, "[ a ", "", NULL, true },
        { "a snapshot that is gone", { ANSWER("200 OK", "", PAGE("5", "x", ITEM("a"))), GONE, ANSWER("200 OK", "", PAGE("9", "", ITEM("b"))) },
          "[ a [ b ", "9", NULL, false },
        { "snapshots that are always gone", { GONE }, "[ [ [ [ ", "", "expired", false },
        { "cut", { ANSWER("200 OK", "", "{\"items\":[" ITEM("a") "," ITEM("b")) }, "[ a b ", "", "ends in the middle", false },
        { "no list", { ANSWER("200 OK", "", "<html>") }, "[ ", "", "outside its object", false },
        { "items that cannot be read are left out", { ANSWER("200 OK", "", PAGE("5", "", "{1}," ITEM("a"))) }, "[ a ", "5", NULL, false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct server server;
        start_server(&server, rows[i].answers);
        struct kube_client *client = new_client(&server, (struct kube_client_options){ .page_size = 2 });
        struct seen seen = { .stop = rows[i].stop };
        struct kube_listing listing = { .begin = see_begin, .each = see_listed, .context = &seen };
        struct error err = { 0 };
        char version[64] = "";
        int result = kube_list_run(client, &KUBE_PODS, "a", NULL, &listing, version, &err);
        if ((result < 0) != (rows[i].error != NULL) || !str_equal_text(buf_str(&seen.text), rows[i].seen) || strcmp(version, rows[i].version) != 0 ||
            (rows[i].error && !strstr(err.text, rows[i].error)))
            fail_msg("%s: %d '%.*s' '%s' %s", rows[i].name, result, STR_ARG(buf_str(&seen.text)), version, err.text);
        if (strcmp(rows[i].name, "two pages") == 0)
            assert_non_null(strstr(server.last, "limit=2&continue=x%26y "));
        buf_free(&seen.text);
        kube_client_free(client);
        stop_server(&server);
    }
}

static void see_event(void *context, enum kube_watch_type type, const json_t *object)
{
    static const char signs[] = "+*-_";
    struct seen *seen = context;
    buf_printf(&seen->text, "%c%s ", signs[type], kube_name(object) ? kube_name(object) : "");
}

static bool see_cancelled(void *context) { return ((struct seen *)context)->stop; }

#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}}\n"
#define BOOKMARK(version) "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"

static void streams_end_for_a_reason_and_the_version_is_kept(void **state)
{
    static const struct {
        const char *name, *answers[2], *seen, *version, *error;
        enum error_class class;
    } rows[] = {
        { "the server's end", { ANSWER("200 OK", "", EVENT("ADDED", "a", "11") EVENT("MODIFIED", "a", "12") EVENT("DELETED", "a", "13")) },
          "+a *a -a ", "13", NULL, ERR_NONE },
        { "bookmarks move the version", { ANSWER("200 OK", "", EVENT("ADDED", "a", "11") BOOKMARK("20")) }, "+a _ ", "20", NULL, ERR_NONE },
        { "chunks inside objects", { CHUNKED(CHUNK("a", "{\"type\":\"A") CHUNK("42", "DDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"11\"}}}\n\n") "0\r\n\r\n") },
          "+a ", "11", NULL, ERR_NONE },
        { "cut inside an object", { ANSWER("200 OK", "", EVENT("ADDED", "a", "11") "{\"type\":\"DELETED\",\"obj") }, "+a ", "11", "cut in the middle", ERR_UNAVAILABLE },
        { "cut inside a chunk", { CHUNKED("400\r\n" EVENT("ADDED", "a", "11")) }, "+a ", "11", "the exchange with", ERR_UNAVAILABLE },
        { "an error in the stream", { ANSWER("200 OK", "", "{\"type\":\"ERROR\",\"object\":" STATUS("410", "Expired", "too old") "}" EVENT("ADDED", "a", "11")) },
          "", "10", "expired: too old", ERR_CONFLICT },
        { "another error in the stream", { ANSWER("200 OK", "", EVENT("ADDED", "a", "11") "{\"type\":\"ERROR\",\"object\":" STATUS("500", "InternalError", "etcd") "}") },
          "+a ", "11", "etcd", ERR_UNAVAILABLE },
        { "too old at once", { ANSWER("410 Gone", "", STATUS("410", "Gone", "too old")) }, "", "10", "expired: too old", ERR_CONFLICT },
        { "refused", { ANSWER("403 Forbidden", "", STATUS("403", "Forbidden", "no")) }, "", "10", "watching pods a: no", ERR_FORBIDDEN },
        { "unknown types are passed over", { ANSWER("200 OK", "", EVENT("RENAMED", "a", "11") "{}{\"type\":\"ADDED\"}" EVENT("ADDED", "b", "12")) }, "+b ", "12", NULL, ERR_NONE },
        { "what cannot be read is passed over", { ANSWER("200 OK", "", "{1}" EVENT("ADDED", "b", "12")) }, "+b ", "12", NULL, ERR_NONE },
        { "no stream of objects", { ANSWER("200 OK", "", "<html>") }, "", "10", "between objects", ERR_INVALID },
        { "silence after an event", { ANSWER("200 OK", "X-Silence: 1\r\n", EVENT("ADDED", "a", "11")) }, "+a ", "11", NULL, ERR_NONE },
        { "nothing but silence", { ANSWER("200 OK", "X-Silence: 1\r\n", "") }, "", "10", "expired: the watch brought nothing", ERR_CONFLICT },
        { "a version that is too long", { ANSWER("200 OK", "", EVENT("ADDED", "a", "1234567890123456789012345678901234567890123456789012345678901234567890")) }, "+a ", "10", NULL, ERR_NONE },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct server server;
        start_server(&server, rows[i].answers);
        struct kube_client *client = new_client(&server, (struct kube_client_options){ .watch_silence_ms = 300 });
        struct seen seen = { 0 };
        struct error err = { 0 };
        char version[64] = "10";
        int result = kube_watch(client, &KUBE_PODS, "a", "x=y", version, see_event, see_cancelled, &seen, &err);
        if ((result < 0) != (rows[i].error != NULL) || !str_equal_text(buf_str(&seen.text), rows[i].seen) || strcmp(version, rows[i].version) != 0 ||
            (rows[i].error && (!strstr(err.text, rows[i].error) || err.class != rows[i].class)))
            fail_msg("%s: %d '%.*s' '%s' %s", rows[i].name, result, STR_ARG(buf_str(&seen.text)), version, err.text);
        assert_non_null(strstr(server.last, "?watch=1&allowWatchBookmarks=true&timeoutSeconds="));
        assert_non_null(strstr(server.last, "&resourceVersion=10&labelSelector=x%3Dy "));
        buf_free(&seen.text);
        kube_client_free(client);
        stop_server(&server);
    }
}

static void a_watch_that_nobody_wants_any_more_ends(void **state)
{
    static const char *const answers[] = { ANSWER("200 OK", "X-Silence: 1\r\n", ""), NULL };
    struct server server;
    start_server(&server, answers);
    struct kube_client *client = new_client(&server, (struct kube_client_options){ 0 });
    struct seen seen = { .stop = true };
    struct error err = { 0 };
    char version[64] = "10";

    assert_int_equal(kube_watch(client, &KUBE_PODS, "a", NULL, version, see_event, see_cancelled, &seen, &err), 0);
    kube_client_free(client);
    stop_server(&server);
}

/* --- informers --------------------------------------------------------------------------------------------------- */

struct followed {
    pthread_mutex_t lock;
    struct buf text;
};

static void note(struct followed *followed, const char *sign, const char *name)
{
    pthread_mutex_lock(&followed->lock);
    buf_printf(&followed->text, "%s%s ", sign, name);
    pthread_mutex_unlock(&followed->lock);
}

static void follow_begin(void *context) { note(context, "[", ""); }
static void follow_end(void *context) { note(context, "]", ""); }
static void follow_object(void *context, const json_t *object, bool deleted) { note(context, deleted ? "-" : "+", kube_name(object)); }
static void follow_reachable(void *context, const struct error *err) { note(context, err ? "away" : "here", ""); }

static void an_informer_goes_from_list_to_watch_and_back(void **state)
{
    static const char *const answers[] = {
        ANSWER("503 Starting", "", ""),                                     /* listing fails: away, tried again */
        ANSWER("200 OK", "", PAGE("5", "", ITEM("a") "," ITEM("b"))),
        ANSWER("200 OK", "", EVENT("DELETED", "a", "6")),                   /* a short stream: watched on after a while */
        ANSWER("503 Restarting", "", ""),                                   /* away: watched on from the same version */
        ANSWER("200 OK", "", EVENT("ADDED", "c", "7")),
        GONE,                                                               /* listed again */
        ANSWER("200 OK", "", PAGE("9", "", ITEM("c"))),
        ANSWER("200 OK", "X-Silence: 1\r\n", EVENT("ADDED", "d", "10")),
        NULL,
    };
    static const char wanted[] = "[ away [ +a +b ] here -a away here +c [ +c ] +d ";
    static const struct kube_handler handler = { follow_begin, follow_object, follow_end, follow_reachable };
    struct server server;
    start_server(&server, answers);
    struct kube_client *client = new_client(&server, (struct kube_client_options){ 0 });
    struct followed followed = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct kube_informer *informer = kube_informer_start(client, &KUBE_PODS, "a", NULL, &handler, &followed);
    bool complete = false;

    for (int i = 0; i < 500 && !complete; i++) {
        usleep(20000);
        pthread_mutex_lock(&followed.lock);
        complete = followed.text.len >= sizeof(wanted) - 1;
        pthread_mutex_unlock(&followed.lock);
    }
    assert_true(kube_informer_synced(informer));
    kube_informer_signal_stop(informer);
    kube_informer_stop(informer);
    cleanup_free char *text = buf_take(&followed.text);
    if (strncmp(text, wanted, sizeof(wanted) - 1) != 0)
        fail_msg("%s", text);
    kube_client_free(client);
    stop_server(&server);
}

static void an_informer_lists_again_in_case_that_an_event_was_lost(void **state)
{
    static const char *const answers[] = {
        ANSWER("200 OK", "", PAGE("5", "", ITEM("a"))), ANSWER("200 OK", "X-Silence: 1\r\n", EVENT("ADDED", "b", "6")),
        ANSWER("200 OK", "", PAGE("9", "", ITEM("b") "," ITEM("c"))), ANSWER("200 OK", "X-Silence: 1\r\n", ""), NULL,
    };
    static const char wanted[] = "[ +a ] here +b [ +b +c ] ";
    static const struct kube_handler handler = { follow_begin, follow_object, follow_end, follow_reachable };
    struct server server;
    start_server(&server, answers);
    struct kube_client *client = new_client(&server, (struct kube_client_options){ .relist_ms = 300 });
    struct followed followed = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct kube_informer *informer = kube_informer_start(client, &KUBE_PODS, "a", NULL, &handler, &followed);
    bool complete = false;

    for (int i = 0; i < 250 && !complete; i++) {
        usleep(20000);
        pthread_mutex_lock(&followed.lock);
        complete = followed.text.len >= sizeof(wanted) - 1;
        pthread_mutex_unlock(&followed.lock);
    }
    kube_informer_signal_stop(informer);
    kube_informer_stop(informer);
    cleanup_free char *text = buf_take(&followed.text);
    if (!text || strncmp(text, wanted, sizeof(wanted) - 1) != 0)
        fail_msg("%s", text);
    kube_client_free(client);
    stop_server(&server);
}

/* --- the limit --------------------------------------------------------------------------------------------------- */

static void calls_beyond_the_burst_wait_their_turn(void **state)
{
    struct kube_limiter limiter;

    clock_fake_set(1000000, 1000000);
    kube_limiter_init(&limiter, 10, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kube_limiter_take(&limiter, 0), 0);
    assert_int_equal(kube_limiter_take(&limiter, 50), -1);
    assert_in_range(kube_limiter_take(&limiter, 1000), 100, 102);
    assert_in_range(kube_limiter_take(&limiter, 1000), 200, 202);
    clock_fake_set(1250000, 1250000);
    assert_in_range(kube_limiter_take(&limiter, 1000), 50, 52);
    clock_fake_set(60000000, 60000000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kube_limiter_take(&limiter, 0), 0);
    assert_int_equal(kube_limiter_take(&limiter, 0), -1);
    clock_fake_set(-1, -1);
    kube_limiter_destroy(&limiter);
}

static int start(void **state)
{
    http_client_global_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_go_where_the_kind_says),
        cmocka_unit_test(names_that_could_mean_another_path_are_refused),
        cmocka_unit_test(refusals_have_classes_and_the_servers_words),
        cmocka_unit_test(what_may_be_sent_again_is_sent_again),
        cmocka_unit_test(lists_are_put_together_from_pages),
        cmocka_unit_test(streams_end_for_a_reason_and_the_version_is_kept),
        cmocka_unit_test(a_watch_that_nobody_wants_any_more_ends),
        cmocka_unit_test(an_informer_goes_from_list_to_watch_and_back),
        cmocka_unit_test(an_informer_lists_again_in_case_that_an_event_was_lost),
        cmocka_unit_test(calls_beyond_the_burst_wait_their_turn),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
