/* The backend's object: its parts, its locks, and the table that the fleet calls through. */
#include "backend/docker/docker.h"

#include "backend/docker/parts.h"
#include "base/clock.h"

#define LAST_CALLS_MS 10000             /* for calls that run when the service ends */

static struct docker *docker_of(struct backend *backend)
{
    return CONTAINER_OF(backend, struct docker, backend);
}

/* --- the reach ----------------------------------------------------------------------------------------------- */

struct reach *docker_reach(struct docker *docker, struct error *err)
{
    struct reach *reach;

    pthread_mutex_lock(&docker->reach_lock);
    if (!docker->reach)
        docker->reach = reach_find(docker->engine, docker->settings, err);
    reach = docker->reach ? reach_ref(docker->reach) : NULL;
    pthread_mutex_unlock(&docker->reach_lock);
    return reach;
}

void docker_forget_reach(struct docker *docker)
{
    pthread_mutex_lock(&docker->reach_lock);
    reach_unref(steal(&docker->reach));
    pthread_mutex_unlock(&docker->reach_lock);
}

/* --- waiting ------------------------------------------------------------------------------------------------- */

void docker_pause(struct docker *docker, int64_t ms)
{
    struct timespec until = clock_deadline(ms);

    pthread_mutex_lock(&docker->watch_lock);
    while (!atomic_load(&docker->stopping) && pthread_cond_timedwait(&docker->watch_wake, &docker->watch_lock, &until) == 0)
        ;
    pthread_mutex_unlock(&docker->watch_lock);
}

/* --- the table ----------------------------------------------------------------------------------------------- */

static void backend_watch(struct backend *backend, struct observer *observer)
{
    docker_watch(docker_of(backend), observer);
}

/* Also the end of all that may take long: the service is about to wait for every call. */
static void backend_stop_watching(struct backend *backend)
{
    struct docker *docker = docker_of(backend);

    pulls_cancel(docker->pulls);
    engine_end_calls(docker->engine, LAST_CALLS_MS);
    pthread_mutex_lock(&docker->watch_lock);
    atomic_store(&docker->stopping, true);
    pthread_cond_broadcast(&docker->watch_wake);
    pthread_mutex_unlock(&docker->watch_lock);
}

static int backend_start(struct backend *backend, const struct terminal_spec *spec, struct error *err)
{
    return docker_start(docker_of(backend), spec, err);
}

static int backend_stop(struct backend *backend, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    return docker_stop(docker_of(backend), ref, grace_s, err);
}

static int backend_wipe(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    return docker_wipe(docker_of(backend), ref, err);
}

static int backend_look(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    return docker_look(docker_of(backend), ref, err);
}

static int backend_diagnose(struct backend *backend, const struct terminal_ref *ref, char **text, struct error *err)
{
    return docker_diagnose(docker_of(backend), ref, text, err);
}

static void backend_check(struct backend *backend, check_report_fn *report, void *context)
{
    docker_check(docker_of(backend), report, context);
}

static void backend_free(struct backend *backend)
{
    struct docker *docker = docker_of(backend);

    pulls_free(docker->pulls);
    reach_unref(docker->reach);
    engine_free(docker->engine);
    map_free(&docker->known, free);
    pthread_mutex_destroy(&docker->reach_lock);
    pthread_mutex_destroy(&docker->observe_lock);
    pthread_mutex_destroy(&docker->watch_lock);
    pthread_cond_destroy(&docker->watch_wake);
    free(docker);
}

static const struct backend_ops docker_ops = {
    .name = "docker", .name_prefix = NAME_PREFIX,
    .watch = backend_watch, .stop_watching = backend_stop_watching,
    .start = backend_start, .stop = backend_stop, .wipe = backend_wipe, .look = backend_look,
    .diagnose = backend_diagnose, .check = backend_check, .free = backend_free,
};

/* --- making it ----------------------------------------------------------------------------------------------- */

static void init_locks(struct docker *docker)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&docker->reach_lock, NULL);
    pthread_mutex_init(&docker->observe_lock, NULL);
    pthread_mutex_init(&docker->watch_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&docker->watch_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    list_init(&docker->starting);
}

/* As many as the engine's machine has cores; where that is another machine, a modest guess, because nothing was asked yet. */
static unsigned best_parallel_starts(const struct engine_address *address)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return engine_address_is_local(address) && cores > 0 ? (unsigned)cores : 2;
}

struct backend *docker_backend_new(const struct settings *settings, struct error *err)
{
    struct engine_environment environment = {
        .docker_host = getenv("DOCKER_HOST"), .tls_verify = getenv("DOCKER_TLS_VERIFY"), .tls = getenv("DOCKER_TLS"),
        .cert_path = getenv("DOCKER_CERT_PATH"), .home = getenv("HOME"),
    };
    struct engine_address address;
    struct docker *docker;

    if (engine_address_parse(&environment, &address, err) < 0) {
        engine_address_clear(&address);
        return NULL;
    }
    docker = xcalloc(1, sizeof(*docker));
    docker->backend = (struct backend){ .ops = &docker_ops, .best_parallel_starts = best_parallel_starts(&address) };
    docker->settings = settings;
    docker->engine = engine_new(&address);
    docker->pulls = pulls_new(docker->engine);
    init_locks(docker);
    return &docker->backend;
}
