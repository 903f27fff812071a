/* Random operations from several threads on few terminals, while the engine loses, doubles and delays what it tells. What must hold whatever
 * happens: never two starts of one key at once, every waiter answered exactly once, routes are of running guests only, and in
 * the end everything comes to rest. */
#include "fixture.h"

enum { USERS = 6, THREADS = 6, SECONDS = 4 };

static const char *const users[USERS] = { "u0", "u1", "u2", "u3", "u4", "u5" };

struct shared {
    struct fixture *f;
    _Atomic bool stop;
    _Atomic unsigned given, answered, refused, operations;
};

static struct shared shared;

struct heap_waiter {
    struct waiter waiter;
    _Atomic bool answered;
};

static void post_once(struct waiter *waiter, struct route *route, const struct error *err)
{
    struct heap_waiter *self = CONTAINER_OF(waiter, struct heap_waiter, waiter);
    if (atomic_exchange(&self->answered, true) || (route == NULL) == (err == NULL))
        abort();
    route_unref(route);
    atomic_fetch_add(&shared.answered, 1);
    free(self);         /* a second answer would be found by the sanitizer */
}

static void want_once(const char *user)
{
    struct heap_waiter *self = xcalloc(1, sizeof *self);
    struct terminal_key key = key_of(user);
    struct route *route = NULL;
    struct error err;
    self->waiter.post = post_once;
    atomic_fetch_add(&shared.given, 1);
    enum want_result result = fleet_want_terminal(shared.f->fleet, &key, &self->waiter, &route, &err);
    if (result == WANT_WAITING)
        return;
    atomic_fetch_sub(&shared.given, 1);
    free(self);
    if (result == WANT_READY && route_enter(route, clock_monotonic_ms()))
        route_leave(route, clock_monotonic_ms());
    if (result == WANT_REFUSED)
        atomic_fetch_add(&shared.refused, 1);
    route_unref(route);
}

static void disturb(unsigned dice, const char *user)
{
    struct fixture *f = shared.f;
    switch (dice % 9) {
    case 0: guest_turns(f, user, OBSERVED_STOPPED); break;
    case 1: guest_appears(f, user); break;
    case 2: SET(f, lose_events, dice % 5 == 0); break;
    case 3: SET(f, double_events, dice % 2 == 0); break;
    case 4: SET(f, start_fails, dice % 23 == 0 ? ERR_NO_CAPACITY : ERR_NONE); break;
    case 5: SET(f, exit_at_start, dice % 19 == 0); break;
    case 6: SET(f, stop_fails, dice % 29 == 0 ? ERR_INTERNAL : ERR_NONE); break;
    case 7: SET(f, relist, true); break;
    default: SET(f, event_ms, (int64_t)(dice % 8)); break;
    }
}

static void operate(unsigned dice, const char *user)
{
    struct fleet *fleet = shared.f->fleet;
    struct terminal_filter filter = { .user_id = user };
    struct terminal_key key = key_of(user);
    struct stop_result result;
    struct error err;
    struct terminal_info *infos;
    struct route *route;
    if (dice % 16 < 9) {
        want_once(user);
    } else if (dice % 16 < 11) {
        (void)!fleet_stop(fleet, &filter, dice % 2 == 0, dice % 3 == 0, &result, &err);
    } else if (dice % 16 == 11) {
        route_unref(fleet_obtain_route(fleet, &key, clock_monotonic_ms() + 5, &err));
    } else if (dice % 16 == 12) {
        size_t count = fleet_list(fleet, NULL, &infos);
        for (size_t i = 0; i < count; i++)
            terminal_info_clear(&infos[i]);
        free(infos);
    } else if (dice % 16 == 13 && (route = fleet_find_route(fleet, &key))) {
        fleet_suspect(fleet, route);
        route_unref(route);
    } else if (dice % 16 == 14) {
        idle_sweep(fleet);
        idle_write_activity(fleet);
        janitor_forget(fleet);
    } else {
        disturb(dice / 16, user);
    }
    atomic_fetch_add(&shared.operations, 1);
}

static void *operator_thread(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&shared.stop)) {
        unsigned dice = (unsigned)rand_r(&seed);
        operate(dice >> 4, users[(unsigned)rand_r(&seed) % USERS]);
        sleep_ms(dice % 3);
    }
    return NULL;
}

static bool has_told_all(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    bool told = !engine->events && !engine->relist;
    pthread_mutex_unlock(&engine->lock);
    return told;
}

/* What is told late comes before the last listing, as an engine that has lost something lists again after that. */
static void calm_down(struct fixture *f)
{
    pthread_mutex_lock(&f->engine.lock);
    f->engine.start_fails = f->engine.stop_fails = f->engine.wipe_fails = ERR_NONE;
    f->engine.lose_events = f->engine.double_events = f->engine.exit_at_start = false;
    pthread_mutex_unlock(&f->engine.lock);
    EVENTUALLY(has_told_all(&f->engine));
    SET(f, relist, true);
    EVENTUALLY(has_told_all(&f->engine));
}

static bool is_served(struct fixture *f, const char *user)
{
    if (has_route(f, user) && guest_phase(f, user) == OBSERVED_RUNNING)
        return true;
    want_once(user);
    sleep_ms(10);
    return false;
}

static void nothing_is_doubled_lost_or_left_over(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    shared.f = f;
    f->options.max_starts = 2;
    f->options.stop_timeout_s = 1;
    f->options.start_timeout_s = 1;
    f->engine.start_ms = 3;
    f->engine.stop_ms = 2;
    log_configure(LOG_ERROR, false);
    fleet_begin(f);
    for (unsigned i = 0; i < THREADS; i++)
        threads[i] = thread_start("operator", operator_thread, (void *)(uintptr_t)(i + 1));
    sleep_ms(SECONDS * 1000);
    atomic_store(&shared.stop, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    calm_down(f);
    EVENTUALLY(shared.answered == shared.given);
    for (unsigned i = 0; i < USERS; i++)
        EVENTUALLY(is_served(f, users[i]));
    EVENTUALLY(shared.answered == shared.given);
    struct stop_result result;
    struct error err;
    if (fleet_stop(f->fleet, NULL, false, false, &result, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(result.stopped, USERS);
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(guest_phase(f, users[i]), OBSERVED_ABSENT);
    idle_write_activity(f->fleet);
    EVENTUALLY((janitor_forget(f->fleet), f->fleet->by_key.count == 0));
    assert_int_equal(f->fleet->waiting_count + f->fleet->holding_count, 0);
    assert_int_equal(f->fleet->starts_calling + f->fleet->stops_calling, 0);
    assert_int_equal(f->fleet->by_probe.count, 0);
    assert_int_equal(f->engine.double_starts, 0);
    print_message("  %u operations, %u starts, %u stops, %u waiters, %u refused\n", shared.operations, f->engine.starts,
                  f->engine.stops, shared.given, shared.refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_doubled_lost_or_left_over, fixture_begin, fixture_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
