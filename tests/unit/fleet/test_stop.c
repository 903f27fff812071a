/* How terminals end: on request, by themselves, with their homes emptied; and that nothing of them is left. */
#include "fixture.h"

static struct stop_result stop(struct fixture *f, const char *user, bool only_idle, bool reset)
{
    struct terminal_filter filter = { .user_id = user };
    struct stop_result result;
    struct error err = { 0 };
    int status = fleet_stop(f->fleet, &filter, only_idle, reset, &result, &err);
    if (status < 0)
        print_message("  %s\n", err.text);
    assert_int_equal(status, 0);
    return result;
}

static void a_stop_is_done_when_it_returns(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    struct stop_result result = stop(f, "ann", false, false);
    assert_int_equal(result.matched, 1);
    assert_int_equal(result.stopped, 1);
    assert_int_equal(result.skipped_active, 0);
    assert_true(route_is_withdrawn(route));
    assert_int_equal(guest_phase(f, "ann"), OBSERVED_ABSENT);
    assert_int_equal(phase_of(f, "ann"), -1);
    assert_int_equal(stop(f, "ann", false, false).matched, 0);
    assert_int_equal(f->engine.wipes, 0);
    route_unref(route);
}

static void only_idle_skips_who_is_in_use(void **state)
{
    struct fixture *f = *state;
    f->options.refresh_idle_s = 0;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    atomic_fetch_add(&route->websockets, 1);
    assert_int_equal(stop(f, "ann", true, false).skipped_active, 1);
    atomic_fetch_sub(&route->websockets, 1);
    assert_true(route_enter(route, clock_monotonic_ms()));
    assert_int_equal(stop(f, "ann", true, false).skipped_active, 1);
    route_leave(route, clock_monotonic_ms());
    assert_false(route_is_withdrawn(route));
    struct stop_result result = stop(f, "ann", true, false);
    assert_int_equal(result.stopped, 1);
    assert_int_equal(result.skipped_active, 0);
    route_unref(route);
}

static void only_idle_skips_recent_traffic(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    assert_int_equal(stop(f, "ann", true, false).skipped_active, 1);
    assert_int_equal(phase_of(f, "ann"), TERMINAL_READY);
}

static void a_refresh_with_reset_empties_the_home(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    struct stop_result result = stop(f, "ann", false, true);
    assert_int_equal(result.matched, 1);
    assert_int_equal(result.stopped, 1);
    assert_int_equal(result.reset, 1);
    assert_int_equal(f->engine.wipes, 1);
}

static void a_reset_reaches_homes_of_terminals_that_do_not_run(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct activity_update updates[] = { { "ann", "default", "default", "2026-01-01T00:00:00Z" },
                                         { "bob", "default", "default", "2026-01-01T00:00:00Z" } };
    assert_int_equal(store_put_activity(f->store, updates, 2, &err), 0);
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    struct stop_result result = stop(f, "ann", false, true);
    assert_int_equal(result.matched, 1);
    assert_int_equal(result.reset, 1);
    assert_int_equal(f->engine.wipes, 1);
    assert_int_equal(stop(f, NULL, true, true).matched, 2);
    assert_int_equal(stop(f, "ann", false, false).matched, 0);
}

static void who_waits_while_it_stops_gets_the_next_start(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_ms, 100);
    guest_turns(f, "ann", OBSERVED_STOPPED);
    EVENTUALLY(phase_of(f, "ann") == TERMINAL_STOPPING);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_non_null(asked.route);
    assert_int_equal(f->engine.starts, 2);
    route_unref(asked.route);
}

static void a_stop_during_a_start_ends_the_guest_and_serves_the_waiter_anew(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.start_ms = 100;
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(f->engine.starts == 1);
    assert_int_equal(stop(f, "ann", false, false).stopped, 1);
    EVENTUALLY(asked.answers == 1);
    assert_non_null(asked.route);
    assert_int_equal(f->engine.starts, 2);
    assert_int_equal(f->engine.double_starts, 0);
    route_unref(asked.route);
}

static void a_stop_that_fails_is_reported_and_the_terminal_stays_usable(void **state)
{
    struct fixture *f = *state;
    struct terminal_filter filter = { .user_id = "ann" };
    struct stop_result result;
    struct error err;
    f->options.stop_timeout_s = 1;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_fails, ERR_INTERNAL);
    assert_int_equal(fleet_stop(f->fleet, &filter, false, false, &result, &err), -1);
    assert_int_equal(result.matched, 1);
    assert_int_equal(result.stopped, 0);
    EVENTUALLY(has_route(f, "ann"));
}

static void refuse_reset(struct fixture *f)
{
    struct stop_result result;
    struct error err;
    assert_int_equal(fleet_stop(f->fleet, &(struct terminal_filter){ .user_id = "ann" }, false, true, &result, &err), -1);
    assert_int_equal(result.reset, 0);
}

static void a_reset_whose_stop_failed_is_not_made_up_for_later(void **state)
{
    struct fixture *f = *state;
    f->options.stop_timeout_s = 1;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_fails, ERR_INTERNAL);
    refuse_reset(f);
    EVENTUALLY(has_route(f, "ann"));
    SET(f, stop_fails, ERR_NONE);
    assert_int_equal(stop(f, "ann", false, false).stopped, 1);
    assert_int_equal(f->engine.wipes, 0);
}

/* The route, or NULL where the terminal is refused just now, as after a failure. */
static struct route *try_obtain(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    struct error err;
    return fleet_obtain_route(f->fleet, &key, clock_monotonic_ms() + 10000, &err);
}

static void a_reset_whose_stop_hung_is_not_made_up_for_later(void **state)
{
    struct route *route;
    struct fixture *f = *state;
    f->options.stop_timeout_s = 1;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_ms, 3000);
    refuse_reset(f);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    EVENTUALLY((route = try_obtain(f, "ann")) != NULL);
    route_unref(route);
    assert_int_equal(f->engine.wipes, 0);
}

static void a_reset_that_is_refused_leaves_the_terminal_usable(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, wipe_fails, ERR_CONFLICT);
    refuse_reset(f);
    EVENTUALLY(phase_of(f, "ann") == -1);
    route_unref(obtain(f, "ann"));
    SET(f, wipe_fails, ERR_NONE);
    assert_int_equal(stop(f, "ann", false, false).stopped, 1);
    assert_int_equal(f->engine.wipes, 1);
}

static void a_hung_stop_delays_no_other(void **state)
{
    struct fixture *f = *state;
    f->options.stop_timeout_s = 1;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    route_unref(obtain(f, "bob"));
    SET(f, stop_ms, 3000);
    struct asked asked;
    guest_turns(f, "ann", OBSERVED_STOPPED);
    EVENTUALLY(f->engine.stops == 1);
    SET(f, stop_ms, 0);
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(stop(f, "bob", false, false).stopped, 1);
    assert_true(clock_monotonic_ms() - began_ms < 1500);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(asked.class, ERR_TIMEOUT);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
}

struct stopper {
    struct fixture *fixture;
    int status;
    struct error err;
};

static void *stop_ann(void *argument)
{
    struct stopper *stopper = argument;
    struct stop_result result;
    stopper->status = fleet_stop(stopper->fixture->fleet, &(struct terminal_filter){ .user_id = "ann" }, false, false, &result, &stopper->err);
    return NULL;
}

static void who_waits_for_a_hung_stop_is_answered_when_the_service_ends(void **state)
{
    struct fixture *f = *state;
    struct stopper stopper = { .fixture = f };
    f->options.stop_timeout_s = 60;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_ms, 2000);
    pthread_t thread = thread_start("stopper", stop_ann, &stopper);
    EVENTUALLY(f->engine.stops == 1);
    int64_t began_ms = clock_monotonic_ms();
    fleet_dismiss_callers(f->fleet);
    pthread_join(thread, NULL);
    assert_true(clock_monotonic_ms() - began_ms < 1500);
    assert_int_equal(stopper.status, -1);
    assert_int_equal(stopper.err.class, ERR_UNAVAILABLE);
    stop_ann(&stopper);
    assert_int_equal(stopper.err.class, ERR_UNAVAILABLE);
}

static void nothing_is_stopped_while_the_engine_is_away(void **state)
{
    struct fixture *f = *state;
    struct stop_result result;
    struct error err;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    pthread_mutex_lock(&f->engine.lock);
    error_set(&f->engine.unreachable, ERR_UNAVAILABLE, "gone");
    pthread_mutex_unlock(&f->engine.lock);
    EVENTUALLY(knows_engine_is_away(f));
    assert_int_equal(fleet_stop(f->fleet, NULL, false, false, &result, &err), -1);
    assert_int_equal(err.class, ERR_UNAVAILABLE);
    assert_true(has_route(f, "ann"));
}

static void stopped_remains_are_cleared_away_by_the_next_want(void **state)
{
    struct fixture *f = *state;
    f->engine.lose_events = true;
    guest_appears(f, "ann");
    guest_turns(f, "ann", OBSERVED_STOPPED);
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    SET(f, lose_events, false);
    struct route *route = obtain(f, "ann");
    assert_string_not_equal(route->guest_key, "their-key");
    route_unref(route);
}

static void what_took_the_place_of_one_that_ended_is_left_alone(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    SET(f, stop_ms, 200);
    guest_turns(f, "ann", OBSERVED_STOPPING);
    EVENTUALLY(f->engine.stops == 1);
    SET(f, stop_ms, 0);
    guest_turns(f, "ann", OBSERVED_ABSENT);
    guest_appears(f, "ann");
    EVENTUALLY(has_route(f, "ann"));
    assert_int_equal(f->engine.stops, 1);
    assert_int_equal(guest_phase(f, "ann"), OBSERVED_RUNNING);
}

static void absent_terminals_are_forgotten(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    for (int i = 0; i < 10; i++) {
        char user[8];
        snprintf(user, sizeof user, "u%d", i);
        route_unref(obtain(f, user));
    }
    assert_int_equal(stop(f, NULL, false, false).stopped, 10);
    idle_write_activity(f->fleet);
    EVENTUALLY((janitor_forget(f->fleet), f->fleet->by_key.count == 0));
    assert_int_equal(f->fleet->by_name.count, 0);
    assert_int_equal(f->fleet->live_by_user.count, 0);
    struct fleet_counts counts;
    fleet_count(f->fleet, &counts);
    for (unsigned i = 0; i <= TERMINAL_FAILED; i++)
        assert_int_equal(counts.by_phase[i], 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_begin, fixture_end)
    const struct CMUnitTest tests[] = {
        CASE(a_stop_is_done_when_it_returns),
        CASE(only_idle_skips_who_is_in_use),
        CASE(only_idle_skips_recent_traffic),
        CASE(a_refresh_with_reset_empties_the_home),
        CASE(a_reset_reaches_homes_of_terminals_that_do_not_run),
        CASE(who_waits_while_it_stops_gets_the_next_start),
        CASE(a_stop_during_a_start_ends_the_guest_and_serves_the_waiter_anew),
        CASE(a_stop_that_fails_is_reported_and_the_terminal_stays_usable),
        CASE(a_reset_whose_stop_failed_is_not_made_up_for_later),
        CASE(a_reset_whose_stop_hung_is_not_made_up_for_later),
        CASE(a_reset_that_is_refused_leaves_the_terminal_usable),
        CASE(a_hung_stop_delays_no_other),
        CASE(who_waits_for_a_hung_stop_is_answered_when_the_service_ends),
        CASE(nothing_is_stopped_while_the_engine_is_away),
        CASE(stopped_remains_are_cleared_away_by_the_next_want),
        CASE(what_took_the_place_of_one_that_ended_is_left_alone),
        CASE(absent_terminals_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
