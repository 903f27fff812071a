/* A fleet over a scripted engine, a real store in a temporary file and real policies. */
#ifndef TESTS_FLEET_FIXTURE_H
#define TESTS_FLEET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "fleet/internal.h"
#include "scripted_backend.h"

struct fixture {
    char directory[64];
    struct engine engine;
    struct store *store;
    struct policies *policies;
    struct fleet *fleet;
    struct fleet_options options;
};

#define SET(f, what, value) \
    do { \
        pthread_mutex_lock(&(f)->engine.lock); \
        (f)->engine.what = (value); \
        pthread_cond_broadcast(&(f)->engine.changed); \
        pthread_mutex_unlock(&(f)->engine.lock); \
    } while (0)

/* Waits up to 10 s for something that another thread brings about. */
#define EVENTUALLY(condition) \
    do { \
        bool holds_; \
        for (int tries_ = 0; !(holds_ = (condition)) && tries_ < 5000; tries_++) \
            sleep_ms(2); \
        assert_true(holds_); \
    } while (0)

/* Policies: the built-in default (idle after 10 minutes); "other"; "refused", whose image is not allowed. */
static inline struct policy_snapshot *make_snapshot(void)
{
    struct policy_limits *limits = xcalloc(1, sizeof *limits);
    limits->image = xstrdup("guest:1");
    limits->idle_timeout_minutes = 10;
    limits->allowed_images = xcalloc(1, sizeof *limits->allowed_images);
    limits->allowed_images[0] = xstrdup("guest:*");
    limits->allowed_image_count = 1;
    json_t *rows = json_pack("[{s:s,s:{},s:s,s:s},{s:s,s:{s:s},s:s,s:s}]",
                             "id", "other", "data", "created_at", "2026-01-01 00:00:00.000000+00:00", "updated_at", "2026-01-01 00:00:00.000000+00:00",
                             "id", "refused", "data", "image", "evil:1", "created_at", "2026-01-01 00:00:00.000000+00:00",
                             "updated_at", "2026-01-01 00:00:00.000000+00:00");
    struct policy_snapshot *snapshot = policy_snapshot_new(limits, rows);
    json_decref(rows);
    return snapshot;
}

static inline void fleet_begin(struct fixture *f)
{
    struct error err;
    f->fleet = fleet_new(&f->options);
    assert_int_equal(fleet_start(f->fleet, &err), 0);
}

static inline void fleet_end(struct fixture *f)
{
    fleet_free(f->fleet);
    f->fleet = NULL;
}

static inline int fixture_begin(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct error err;
    log_configure(LOG_ERROR, false);
    engine_init(&f->engine);
    snprintf(f->directory, sizeof f->directory, "/tmp/fleet-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->store = store_open(NULL, f->directory, &err);
    assert_non_null(f->store);
    f->policies = policies_new(make_snapshot());
    f->options = (struct fleet_options){
        .backend = &f->engine.backend, .store = f->store, .policies = f->policies, .start_timeout_s = 2, .stop_timeout_s = 2,
        .refresh_idle_s = 60, .activity_interval_s = 30,
    };
    *state = f;
    return 0;
}

static inline int fixture_end(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fleet_free(f->fleet);
    policies_free(f->policies);
    store_close(f->store);
    engine_clear(&f->engine);
    int dir = dir_open(f->directory, &err);
    (void)!dir_empty(dir, &err);
    close(dir);
    rmdir(f->directory);
    free(f);
    return 0;
}

static inline struct terminal_key key_of(const char *user)
{
    return (struct terminal_key){ (char *)user, (char *)"default", (char *)"default" };
}

/* --- a waiter that can be asked ------------------------------------------------------------------------------- */

struct asked {
    struct waiter waiter;
    _Atomic unsigned answers;
    struct route *_Atomic route;
    _Atomic enum error_class class;
    char text[768];
};

static inline void post_asked(struct waiter *waiter, struct route *route, const struct error *err)
{
    struct asked *asked = CONTAINER_OF(waiter, struct asked, waiter);
    if (err) {
        memcpy(asked->text, err->text, sizeof asked->text);
        atomic_store(&asked->class, err->class);
    }
    atomic_store(&asked->route, route);
    atomic_fetch_add(&asked->answers, 1);
}

static inline enum want_result want(struct fixture *f, const char *user, struct asked *asked)
{
    struct terminal_key key = key_of(user);
    struct route *route = NULL;
    struct error err = { 0 };
    *asked = (struct asked){ .waiter.post = post_asked };
    enum want_result result = fleet_want_terminal(f->fleet, &key, &asked->waiter, &route, &err);
    if (result == WANT_READY)
        atomic_store(&asked->route, route);
    if (result == WANT_REFUSED) {
        memcpy(asked->text, err.text, sizeof asked->text);
        atomic_store(&asked->class, err.class);
    }
    return result;
}

static inline struct route *obtain(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    struct error err = { 0 };
    struct route *route = fleet_obtain_route(f->fleet, &key, clock_monotonic_ms() + 10000, &err);
    if (!route)
        print_message("  %s\n", err.text);
    assert_non_null(route);
    return route;
}

static inline bool has_route(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    struct route *route = fleet_find_route(f->fleet, &key);
    route_unref(route);
    return route != NULL;
}

/* -1: not in the list. */
static inline int phase_of(struct fixture *f, const char *user)
{
    struct terminal_info *infos;
    struct terminal_filter filter = { .user_id = user };
    size_t count = fleet_list(f->fleet, &filter, &infos);
    int phase = count ? (int)infos[0].phase : -1;
    for (size_t i = 0; i < count; i++)
        terminal_info_clear(&infos[i]);
    free(infos);
    return phase;
}

/* What the engine does to a guest by itself. */
static inline void guest_turns(struct fixture *f, const char *user, enum observed_phase phase)
{
    struct terminal_key key = key_of(user);
    pthread_mutex_lock(&f->engine.lock);
    set_phase(&f->engine, find_guest(&f->engine, &key), phase);
    pthread_mutex_unlock(&f->engine.lock);
}

static inline enum observed_phase guest_phase(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    pthread_mutex_lock(&f->engine.lock);
    enum observed_phase phase = find_guest(&f->engine, &key)->phase;
    pthread_mutex_unlock(&f->engine.lock);
    return phase;
}

/* A guest that somebody else made. */
static inline void guest_appears(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    pthread_mutex_lock(&f->engine.lock);
    run_guest(&f->engine, find_guest(&f->engine, &key), "their-key", "guest:1");
    pthread_mutex_unlock(&f->engine.lock);
}

static inline bool knows_engine_is_away(struct fixture *f)
{
    pthread_mutex_lock(&f->fleet->lock);
    bool away = f->fleet->unreachable;
    pthread_mutex_unlock(&f->fleet->lock);
    return away;
}

static inline bool is_listed(struct fixture *f) { return fleet_is_ready(f->fleet, NULL); }

#endif
