/* Image pulls. A pull is one object with one thread; it is in `running` while the thread works, and every waiter holds a reference. */
#include "backend/docker/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/docker/registry.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/secret.h"
#include "http/uri.h"

/* A registry that sends nothing for so long is given up. */
#define STALL_LIMIT_MS (5 * 60 * 1000)

struct pulls {
    struct engine *engine;
    atomic_bool ending;
    pthread_mutex_t lock;               /* guards the list and everything in the pulls */
    pthread_cond_t changed;             /* a pull ended */
    struct list running;
};

struct pull {
    struct list node;
    struct pulls *pulls;
    char *image;
    unsigned references;                /* the thread's, and one for each waiter */
    bool done;
    struct error err;                   /* ERR_NONE: pulled */
    struct pull_progress progress;      /* the thread's own, but for `text` */
    char status[160];                   /* copy of progress.text for waiters */
};

/* --- the stream ---------------------------------------------------------------------------------------------- */

static void note_status(struct pull_progress *progress, const json_t *event)
{
    const char *status = json_text(event, "status");
    const json_t *detail = json_object_get(event, "progressDetail");
    json_int_t current = json_integer_value(json_object_get(detail, "current")), total = json_integer_value(json_object_get(detail, "total"));

    if (!status)
        return;
    if (total > 0)
        (void)snprintf(progress->text, sizeof(progress->text), "%.60s, %lld of %lld MB of a layer", status, current / 1000000, total / 1000000);
    else
        (void)snprintf(progress->text, sizeof(progress->text), "%.120s", status);
}

static bool take_line(struct pull_progress *progress, struct str line)
{
    cleanup_json json_t *event = NULL;
    const char *failure;

    line = str_trim(line);
    if (line.len == 0)
        return true;
    event = json_read(line, NULL);
    if (!json_is_object(event))
        return false;
    failure = json_text(json_object_get(event, "errorDetail"), "message");
    if (!failure)
        failure = json_text(event, "error");
    if (failure)
        (void)snprintf(progress->failure, sizeof(progress->failure), "%s", failure);
    note_status(progress, event);
    return true;
}

bool pull_progress_take(struct pull_progress *progress, struct str data)
{
    size_t end;

    progress->line.limit = 1u << 20;
    if (!buf_append_str(&progress->line, data))
        return false;
    while ((end = str_find_char(buf_str(&progress->line), '\n')) != SIZE_MAX) {
        if (!take_line(progress, str_of(progress->line.data, end)))
            return false;
        buf_consume(&progress->line, end + 1);
    }
    return true;
}

/* --- one pull ------------------------------------------------------------------------------------------------ */

static bool on_pull_data(void *context, struct str data)
{
    struct pull *pull = context;
    bool good = pull_progress_take(&pull->progress, data);

    pthread_mutex_lock(&pull->pulls->lock);
    memcpy(pull->status, pull->progress.text, sizeof(pull->status));
    pthread_mutex_unlock(&pull->pulls->lock);
    return good;
}

static bool pull_is_cancelled(void *context)
{
    const struct pull *pull = context;

    return atomic_load(&pull->pulls->ending);
}

static char *pull_path(const char *repository, const char *tag)
{
    struct buf path = { 0 };

    buf_append_text(&path, "/images/create?fromImage=");
    uri_encode(&path, str_from(repository));
    buf_append_text(&path, "&tag=");
    uri_encode(&path, str_from(tag));
    return buf_take(&path);
}

static int stream_pull(struct pull *pull, const char *repository, const char *tag, struct error *err)
{
    cleanup_free char *path = pull_path(repository, tag), *registry = image_registry(repository);
    cleanup_secret char *auth = registry_auth(registry);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = {
        .operation = ENGINE_IMAGE_PULL, .method = "POST", .path = path, .registry_auth = auth,
        .timeout_ms = -1, .stall_timeout_ms = STALL_LIMIT_MS,
        .on_data = on_pull_data, .cancelled = pull_is_cancelled, .context = pull,
    };
    int result = engine_call(pull->pulls->engine, &request, &answer, err);

    /* The registry's refusal, or its silence; but an engine that cannot be reached says nothing about the image. */
    if (result < 0 && (answer.status || err->class == ERR_TIMEOUT) && err->class != ERR_NO_CAPACITY)
        err->class = ERR_IMAGE_NOT_FOUND;
    if (result < 0)
        return -1;
    if (pull->progress.line.len > 0)
        (void)pull_progress_take(&pull->progress, STR_LITERAL("\n"));
    if (pull->progress.failure[0])
        return error_set(err, ERR_IMAGE_NOT_FOUND, "%s", pull->progress.failure);
    return 0;
}

static int say_what_to_do(const char *image, struct error *err)
{
    struct error why = *err;

    return error_set(err, ERR_IMAGE_NOT_FOUND, "image '%s' is not on the Docker host and cannot be pulled: %.300s. Build or load it there, "
                     "or name another in TERMINALS_IMAGE or in the policy", image, why.text);
}

static int pull_image(struct pull *pull, struct error *err)
{
    cleanup_free char *repository = NULL, *tag = NULL;
    int64_t begin = clock_monotonic_ms();
    int result = image_reference_split(pull->image, &repository, &tag, err);

    log_info("pulling an image", LOG_STR("image", pull->image));
    if (result < 0)
        err->class = ERR_IMAGE_NOT_FOUND;
    else
        result = stream_pull(pull, repository, tag, err);
    if (result == 0)
        log_info("pulled an image", LOG_STR("image", pull->image), LOG_INT("ms", clock_monotonic_ms() - begin));
    else
        log_warning("an image could not be pulled", LOG_STR("image", pull->image), LOG_ERR(err));
    return result < 0 && err->class == ERR_IMAGE_NOT_FOUND ? say_what_to_do(pull->image, err) : result;
}

/* Under the lock. */
static void pull_unref(struct pull *pull)
{
    if (--pull->references > 0)
        return;
    buf_free(&pull->progress.line);
    free(pull->image);
    free(pull);
}

static void *run_pull(void *argument)
{
    struct pull *pull = argument;
    struct pulls *pulls = pull->pulls;
    struct error err = { 0 };
    int result = pull_image(pull, &err);

    pthread_mutex_lock(&pulls->lock);
    pull->done = true;
    pull->err = err;
    if (result == 0)
        pull->err.class = ERR_NONE;
    list_remove(&pull->node);
    pull_unref(pull);
    pthread_cond_broadcast(&pulls->changed);
    pthread_mutex_unlock(&pulls->lock);
    return NULL;
}

/* --- for all who wait ---------------------------------------------------------------------------------------- */

/* Under the lock: the running pull of this image, or a new one; with a reference for the caller. */
static struct pull *join_pull(struct pulls *pulls, const char *image)
{
    struct pull *pull;

    LIST_FOR_EACH(node, &pulls->running) {
        pull = LIST_ENTRY(node, struct pull, node);
        if (strcmp(pull->image, image) == 0) {
            pull->references++;
            return pull;
        }
    }
    pull = xcalloc(1, sizeof(*pull));
    pull->pulls = pulls;
    pull->image = xstrdup(image);
    pull->references = 2;
    list_append(&pulls->running, &pull->node);
    pthread_detach(thread_start("pull", run_pull, pull));
    return pull;
}

static struct timespec timespec_of(int64_t monotonic_ms)
{
    return (struct timespec){ .tv_sec = monotonic_ms / 1000, .tv_nsec = monotonic_ms % 1000 * 1000000 };
}

static int say_that_we_stop(struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "the service is shutting down; the image is not pulled any further");
}

static int say_that_it_goes_on(const struct pull *pull, struct error *err)
{
    return error_set(err, ERR_STARTING, "image '%s' is still being pulled (%s); try again in a while", pull->image,
                     pull->status[0] ? pull->status : "waiting for the registry");
}

/* Under the lock, which it lets go of while it waits. */
static int wait_for_pull(struct pull *pull, int64_t deadline_ms, struct error *err)
{
    struct pulls *pulls = pull->pulls;
    struct timespec until = timespec_of(deadline_ms);

    while (!pull->done && !atomic_load(&pulls->ending) && pthread_cond_timedwait(&pulls->changed, &pulls->lock, &until) != ETIMEDOUT)
        ;
    if (!pull->done)
        return atomic_load(&pulls->ending) ? say_that_we_stop(err) : say_that_it_goes_on(pull, err);
    return pull->err.class == ERR_NONE ? 0 : error_set(err, pull->err.class, "%s", pull->err.text);
}

int pulls_wait(struct pulls *pulls, const char *image, int64_t deadline_ms, struct error *err)
{
    struct pull *pull;
    int result;

    pthread_mutex_lock(&pulls->lock);
    if (atomic_load(&pulls->ending)) {
        result = say_that_we_stop(err);
    } else {
        pull = join_pull(pulls, image);
        result = wait_for_pull(pull, deadline_ms, err);
        pull_unref(pull);
    }
    pthread_mutex_unlock(&pulls->lock);
    return result;
}

struct pulls *pulls_new(struct engine *engine)
{
    struct pulls *pulls = xcalloc(1, sizeof(*pulls));
    pthread_condattr_t monotonic;

    pulls->engine = engine;
    list_init(&pulls->running);
    pthread_mutex_init(&pulls->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pulls->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return pulls;
}

void pulls_cancel(struct pulls *pulls)
{
    pthread_mutex_lock(&pulls->lock);
    atomic_store(&pulls->ending, true);
    pthread_cond_broadcast(&pulls->changed);
    pthread_mutex_unlock(&pulls->lock);
}

void pulls_free(struct pulls *pulls)
{
    if (!pulls)
        return;
    pulls_cancel(pulls);
    pthread_mutex_lock(&pulls->lock);
    while (!list_is_empty(&pulls->running))
        pthread_cond_wait(&pulls->changed, &pulls->lock);
    pthread_mutex_unlock(&pulls->lock);
    pthread_cond_destroy(&pulls->changed);
    pthread_mutex_destroy(&pulls->lock);
    free(pulls);
}
