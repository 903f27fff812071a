/* An engine that does what a test tells it: late, lost, doubled and disordered events, failing and hanging calls. Its guests outlive any
 * fleet that watches it, as an engine's do. It checks for itself that no two starts of one key run at once. */
#ifndef TESTS_SCRIPTED_BACKEND_H
#define TESTS_SCRIPTED_BACKEND_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/pool.h"

struct guest {
    struct terminal_key *key;
    char *name, *guest_key, *image;
    enum observed_phase phase;
    unsigned instance;
    unsigned port;
    unsigned starting;          /* start calls that run now */
    bool ready;
};

struct event {
    struct event *next;
    int64_t due_ms;
    struct guest guest;         /* a copy; key, texts owned */
    bool absent, without_key;
};

struct engine {
    struct backend backend;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct map guests;          /* by name */
    struct event *events;
    struct observer *observer;
    bool stop, relist, hold_listing;
    struct error unreachable;   /* class ERR_NONE: it can be reached */
    unsigned next_instance;

    /* what to do */
    enum error_class start_fails, stop_fails, wipe_fails;
    int64_t start_ms, stop_ms, event_ms;
    bool lose_events, double_events, exit_at_start, never_ready, ends_silently, pulls;
    unsigned port;              /* of the guests; 0: they are ready by the engine's word */
    unsigned port_after_look;   /* where a look finds the guest, and ready; 0: where it was */

    /* what happened */
    _Atomic unsigned starts, stops, wipes, looks, running_starts, most_running_starts, double_starts;
};

static inline struct engine *engine_of(struct backend *backend) { return CONTAINER_OF(backend, struct engine, backend); }

static inline void sleep_ms(int64_t ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

static inline void guest_free(void *value)
{
    struct guest *guest = value;
    terminal_key_free(guest->key);
    free(guest->name);
    free(guest->guest_key);
    free(guest->image);
    free(guest);
}

static inline void tell(struct engine *engine, const struct guest *guest, bool absent, bool without_id)
{
    char id[32];
    snprintf(id, sizeof id, "i%u", guest->instance);
    struct observation seen = {
        .name = guest->name, .key = absent ? NULL : guest->key, .phase = absent ? OBSERVED_ABSENT : guest->phase,
        .instance_id = without_id ? NULL : id,
    };
    if (!absent) {
        seen.guest_key = guest->guest_key;
        seen.image = guest->image;
        seen.ready = guest->ready;
        seen.preparing = guest->phase == OBSERVED_STARTING && engine->pulls;
        if (guest->phase == OBSERVED_RUNNING) {
            struct sockaddr_in *address = (struct sockaddr_in *)&seen.endpoint.address;
            address->sin_family = AF_INET;
            address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            address->sin_port = htons((uint16_t)guest->port);
            seen.endpoint.address_len = sizeof *address;
            snprintf(seen.endpoint.host, sizeof seen.endpoint.host, "127.0.0.1");
            seen.endpoint.port = guest->port;
        }
        if (guest->phase == OBSERVED_STOPPED)
            seen.failure = ERR_GUEST_CRASHED;
    }
    if (engine->observer)
        engine->observer->observe(engine->observer, &seen);
}

/* (locked) Puts the guest's present state into the stream of events. */
static inline void emit(struct engine *engine, const struct guest *guest, bool absent, bool without_id)
{
    if (engine->lose_events)
        return;
    for (int i = 0; i < (engine->double_events ? 2 : 1); i++) {
        struct event *event = xcalloc(1, sizeof *event), **end = &engine->events;
        event->guest = *guest;
        event->guest.key = terminal_key_copy(guest->key);
        event->guest.name = xstrdup(guest->name);
        event->guest.guest_key = xstrdup(guest->guest_key);
        event->guest.image = xstrdup(guest->image);
        event->absent = absent;
        event->without_key = without_id;
        event->due_ms = clock_monotonic_ms() + engine->event_ms;
        while (*end)
            end = &(*end)->next;
        *end = event;
    }
    pthread_cond_broadcast(&engine->changed);
}

static inline void event_free(struct event *event)
{
    struct guest *copy = xmalloc(sizeof *copy);
    *copy = event->guest;
    guest_free(copy);
    free(event);
}

static inline void list_all(struct engine *engine)
{
    struct observer *observer = engine->observer;
    observer->listing_begin(observer);
    pthread_mutex_lock(&engine->lock);
    size_t position = 0;
    struct str name;
    void *value;
    while (map_next(&engine->guests, &position, &name, &value))
        if (((struct guest *)value)->phase != OBSERVED_ABSENT)
            tell(engine, value, false, false);
    pthread_mutex_unlock(&engine->lock);
    observer->listing_end(observer);
}

static inline void engine_watch(struct backend *backend, struct observer *observer)
{
    struct engine *engine = engine_of(backend);
    pthread_mutex_lock(&engine->lock);
    engine->observer = observer;
    engine->relist = true;
    bool was_unreachable = false;
    while (!engine->stop) {
        bool unreachable = engine->unreachable.class != ERR_NONE;
        if (unreachable != was_unreachable) {
            struct error why = engine->unreachable;
            was_unreachable = unreachable;
            pthread_mutex_unlock(&engine->lock);
            observer->reachable(observer, unreachable ? &why : NULL);
            pthread_mutex_lock(&engine->lock);
        } else if (engine->relist && !engine->hold_listing && !unreachable) {
            engine->relist = false;
            pthread_mutex_unlock(&engine->lock);
            list_all(engine);
            pthread_mutex_lock(&engine->lock);
        } else if (engine->events && engine->events->due_ms <= clock_monotonic_ms() && !unreachable) {
            struct event *event = engine->events;
            engine->events = event->next;
            pthread_mutex_unlock(&engine->lock);
            tell(engine, &event->guest, event->absent, event->without_key);
            event_free(event);
            pthread_mutex_lock(&engine->lock);
        } else {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 2000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
        }
    }
    engine->observer = NULL;
    engine->stop = false;       /* for the next who watches; it may have been said before this one began */
    pthread_mutex_unlock(&engine->lock);
}

static inline void engine_stop_watching(struct backend *backend)
{
    struct engine *engine = engine_of(backend);
    pthread_mutex_lock(&engine->lock);
    engine->stop = true;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static inline struct guest *find_guest(struct engine *engine, const struct terminal_key *key)
{
    char name[TERMINAL_NAME_SIZE];
    terminal_name(key, "terminals-", name);
    struct guest *guest = map_get(&engine->guests, str_from(name));
    if (guest)
        return guest;
    guest = xcalloc(1, sizeof *guest);
    guest->key = terminal_key_copy(key);
    guest->name = xstrdup(name);
    guest->guest_key = xstrdup("none");
    guest->image = xstrdup("none");
    (void)map_put(&engine->guests, str_from(name), guest);
    return guest;
}

/* (locked) */
static inline void set_phase(struct engine *engine, struct guest *guest, enum observed_phase phase)
{
    guest->phase = phase;
    emit(engine, guest, phase == OBSERVED_ABSENT, false);
}

static inline void run_guest(struct engine *engine, struct guest *guest, const char *guest_key, const char *image)
{
    guest->instance = ++engine->next_instance;
    free(guest->guest_key);
    free(guest->image);
    guest->guest_key = xstrdup(guest_key);
    guest->image = xstrdup(image);
    guest->port = engine->port ? engine->port : 9;
    guest->ready = engine->port == 0 && !engine->never_ready;
    set_phase(engine, guest, OBSERVED_STARTING);
    if (engine->pulls)
        return;
    set_phase(engine, guest, OBSERVED_RUNNING);
    if (engine->exit_at_start)
        set_phase(engine, guest, OBSERVED_STOPPED);
}

static inline int engine_start(struct backend *backend, const struct terminal_spec *spec, struct error *err)
{
    struct engine *engine = engine_of(backend);
    int result = 0;
    pthread_mutex_lock(&engine->lock);
    struct guest *guest = find_guest(engine, spec->key);
    engine->starts++;
    if (guest->starting++ > 0)
        engine->double_starts++;
    unsigned running = ++engine->running_starts;
    if (running > engine->most_running_starts)
        engine->most_running_starts = running;
    int64_t ms = engine->start_ms;
    pthread_mutex_unlock(&engine->lock);
    sleep_ms(ms);
    pthread_mutex_lock(&engine->lock);
    if (engine->unreachable.class)
        result = error_set(err, ERR_UNAVAILABLE, "scripted: no engine");
    else if (engine->start_fails)
        result = error_set(err, engine->start_fails, "scripted: start fails");
    else if (guest->phase == OBSERVED_RUNNING)
        emit(engine, guest, false, false);
    else
        run_guest(engine, guest, spec->guest_key, spec->image);
    guest->starting--;
    engine->running_starts--;
    pthread_mutex_unlock(&engine->lock);
    return result;
}

static inline int engine_stop(struct backend *backend, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    struct engine *engine = engine_of(backend);
    (void)grace_s;
    engine->stops++;
    pthread_mutex_lock(&engine->lock);
    int64_t ms = engine->stop_ms;
    pthread_mutex_unlock(&engine->lock);
    sleep_ms(ms);
    int result = 0;
    pthread_mutex_lock(&engine->lock);
    struct guest *guest = find_guest(engine, ref->key);
    char id[32];
    snprintf(id, sizeof id, "i%u", guest->instance);
    if (engine->stop_fails)
        result = error_set(err, engine->stop_fails, "scripted: stop fails");
    else if (!ref->instance_id || strcmp(ref->instance_id, id) == 0) {
        if (guest->phase != OBSERVED_ABSENT && !engine->ends_silently)
            set_phase(engine, guest, OBSERVED_STOPPED);
        set_phase(engine, guest, OBSERVED_ABSENT);
    }
    pthread_mutex_unlock(&engine->lock);
    return result;
}

static inline int engine_wipe(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    struct engine *engine = engine_of(backend);
    engine->wipes++;
    pthread_mutex_lock(&engine->lock);
    enum error_class fails = engine->wipe_fails;
    bool runs = find_guest(engine, ref->key)->phase == OBSERVED_RUNNING;
    pthread_mutex_unlock(&engine->lock);
    if (runs)
        return error_set(err, ERR_INTERNAL, "scripted: wiped while it runs");
    return fails ? error_set(err, fails, "scripted: wipe fails") : 0;
}

static inline int engine_look(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    struct engine *engine = engine_of(backend);
    (void)err;
    engine->looks++;
    pthread_mutex_lock(&engine->lock);
    struct guest *guest = find_guest(engine, ref->key);
    if (engine->port_after_look) {
        guest->port = engine->port_after_look;
        guest->ready = true;
    }
    tell(engine, guest, guest->phase == OBSERVED_ABSENT, true);
    pthread_mutex_unlock(&engine->lock);
    return 0;
}

static inline int engine_diagnose(struct backend *backend, const struct terminal_ref *ref, char **text, struct error *err)
{
    (void)ref, (void)err;
    *text = xstrdup(engine_of(backend)->pulls ? "" : "last words");
    return 0;
}

static const struct backend_ops engine_ops = {
    .name = "scripted", .name_prefix = "terminals-", .watch = engine_watch, .stop_watching = engine_stop_watching,
    .start = engine_start, .stop = engine_stop, .wipe = engine_wipe, .look = engine_look, .diagnose = engine_diagnose,
};

static inline void engine_init(struct engine *engine)
{
    *engine = (struct engine){ .backend = { &engine_ops, 0 } };
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
}

static inline void engine_clear(struct engine *engine)
{
    map_free(&engine->guests, guest_free);
    while (engine->events) {
        struct event *event = engine->events;
        engine->events = event->next;
        event_free(event);
    }
}

#endif
