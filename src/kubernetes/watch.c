/* Watches: one long answer, cut into events as it arrives; each event is parsed alone and freed before the next.
 *
 * A stream ends after a time of our choosing (4 to 8 minutes, so that many watchers do not come back together). Bookmarks arrive about once a minute: a
 * stream that brings nothing for much longer has lost its connection without a word, and is taken for ended. When it brought nothing at all, its version may lie
 * beyond what the server has (its store was put back to an earlier state): the server then keeps silent for ever, and only a listing helps. */
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "kubernetes/object.h"
#include "kubernetes/request.h"
#include "kubernetes/split.h"

#define SHORTEST_S 240
#define LONGEST_S 480
#define GRACE_MS 30000          /* for the server to end the stream itself */

struct stream {
    const struct kube_watching *watching;
    struct kube_splitter splitter;
    char *resource_version;     /* 64 bytes, the caller's */
    bool opened, cancelled, failed;
    bool proven;                /* something came: the server knows our version */
    struct error err;           /* why it `failed` */
};

static bool type_of(const json_t *event, enum kube_watch_type *type)
{
    static const char *const names[] = {
        [KUBE_ADDED] = "ADDED", [KUBE_MODIFIED] = "MODIFIED", [KUBE_DELETED] = "DELETED", [KUBE_BOOKMARK] = "BOOKMARK",
    };
    const char *name = json_text(event, "type");

    for (size_t i = 0; name && i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *type = (enum kube_watch_type)i;
            return true;
        }
    }
    return false;
}

static void follow_version(struct stream *stream, const json_t *object)
{
    const char *version = kube_text_at(object, "metadata", "resourceVersion", NULL);

    if (version && *version && strlen(version) < 64)
        memcpy(stream->resource_version, version, strlen(version) + 1);
}

/* False when the event ends the stream. */
static bool take_event(void *context, struct str piece)
{
    struct stream *stream = context;
    struct error why;
    enum kube_watch_type type;
    cleanup_json json_t *event = json_read_lenient(piece, &why);
    const json_t *object = json_object_get(event, "object");
    const char *name = json_text(event, "type");

    if (!event) {
        log_warning("left out an event that cannot be read", LOG_ERR(&why));
        return true;
    }
    if (name && strcmp(name, "ERROR") == 0) {
        stream->failed = true;
        kube_status_object_error(500, object, &stream->err);
        return false;
    }
    if (!type_of(event, &type) || !json_is_object(object))
        return true;
    stream->watching->event(stream->watching->context, type, object);
    follow_version(stream, object);
    return true;
}

static bool take_data(void *context, struct str data)
{
    struct stream *stream = context;
    int result = kube_split(&stream->splitter, data, take_event, stream, &stream->err);

    stream->proven = true;
    stream->failed = stream->failed || result < 0;
    return result > 0;
}

static void take_head(void *context, int status)
{
    struct stream *stream = context;

    stream->opened = status == 200;
    if (stream->opened && stream->watching->opened)
        stream->watching->opened(stream->watching->context);
}

static bool is_cancelled(void *context)
{
    struct stream *stream = context;

    stream->cancelled = stream->cancelled || (stream->watching->cancelled && stream->watching->cancelled(stream->watching->context));
    return stream->cancelled;
}

static unsigned choose_seconds(void)
{
    uint16_t noise;

    random_bytes(&noise, sizeof(noise));
    return SHORTEST_S + noise % (LONGEST_S - SHORTEST_S);
}

static int watch_path(const struct kube_target *target, const char *selector, const char *version, unsigned seconds, struct buf *path,
                      struct error *err)
{
    char text[16];

    if (kube_path(target, path, err) < 0)
        return -1;
    (void)snprintf(text, sizeof(text), "%u", seconds);
    kube_path_query(path, "watch", "1");
    kube_path_query(path, "allowWatchBookmarks", "true");
    kube_path_query(path, "timeoutSeconds", text);
    if (*version)
        kube_path_query(path, "resourceVersion", version);
    if (selector && *selector)
        kube_path_query(path, "labelSelector", selector);
    return 0;
}

/* What the end of the exchange means. */
static int judge_end(const struct stream *stream, int result, const struct error *why, struct error *err)
{
    bool silent = result < 0 && why->class == ERR_TIMEOUT && stream->opened;

    if (stream->cancelled)
        return 0;
    if (stream->failed || (result < 0 && !silent)) {
        if (err)
            *err = stream->failed ? stream->err : *why;
        return -1;
    }
    if (silent && !stream->proven)
        return kube_status_expired(err, "the watch brought nothing at all");
    if (!silent && !kube_splitter_is_whole(&stream->splitter))
        return error_set(err, ERR_UNAVAILABLE, "the stream of events was cut in the middle of one");
    return 0;
}

int kube_watch_run(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
                   char resource_version[static 64], const struct kube_watching *watching, struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };
    cleanup_buf struct buf path = { 0 };
    struct stream stream = { .watching = watching, .splitter = KUBE_SPLITTER_STREAM, .resource_version = resource_version };
    struct kube_target target = { .resource = resource, .namespace = namespace };
    unsigned seconds = choose_seconds();
    struct error why = { 0 };
    int result;

    if (watch_path(&target, selector, resource_version, seconds, &path, err) < 0)
        return -1;
    struct kube_request request = {
        .operation = KUBE_OP_WATCH, .method = "GET", .path = path.data, .target = &target, .timeout_ms = seconds * 1000 + GRACE_MS,
        .stall_timeout_ms = client->watch_silence_ms, .on_data = take_data, .on_head = take_head, .cancelled = is_cancelled, .context = &stream,
    };
    result = judge_end(&stream, kube_request_run(client, &request, &answer, &why), &why, err);
    kube_splitter_clear(&stream.splitter);
    return result;
}

int kube_watch(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
               char resource_version[static 64], kube_event_fn *event, bool (*cancelled)(void *context), void *context, struct error *err)
{
    struct kube_watching watching = { .event = event, .cancelled = cancelled, .context = context };

    return kube_watch_run(client, resource, namespace, selector, resource_version, &watching, err);
}
