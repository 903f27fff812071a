/* The life of terminals over an engine that does as it is told. */
#include "fixture.h"

/* --- starting ------------------------------------------------------------------------------------------------- */

static void the_first_want_starts_and_the_waiter_gets_the_route(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    struct route *route = asked.route;
    assert_non_null(route);
    assert_int_equal(strlen(route->guest_key), 43);
    assert_string_equal(route->key->user_id, "ann");
    assert_int_equal(f->engine.starts, 1);
    route_unref(route);
    assert_int_equal(want(f, "ann", &asked), WANT_READY);
    route_unref(asked.route);
    assert_int_equal(phase_of(f, "ann"), TERMINAL_READY);
}

static void all_who_want_the_same_terminal_share_one_start(void **state)
{
    struct fixture *f = *state;
    struct asked asked[20];
    f->engine.start_ms = 50;
    fleet_begin(f);
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        assert_int_equal(want(f, "ann", &asked[i]), WANT_WAITING);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        EVENTUALLY(asked[i].answers == 1);
        assert_ptr_equal(asked[i].route, asked[0].route);
    }
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        route_unref(asked[i].route);
    assert_int_equal(f->engine.starts, 1);
}

static const struct {
    const char *name, *policy;
    enum error_class class;
} refusals[] = {
    { "an unknown policy", "nope", ERR_NOT_FOUND },
    { "an image that is not allowed", "refused", ERR_IMAGE_NOT_ALLOWED },
};

static void what_cannot_be_resolved_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct terminal_key key = { (char *)"ann", (char *)refusals[i].policy, (char *)"default" };
        struct waiter waiter = { 0 };
        struct route *route;
        struct error err;
        print_message("  %s\n", refusals[i].name);
        assert_int_equal(fleet_want_terminal(f->fleet, &key, &waiter, &route, &err), WANT_REFUSED);
        assert_int_equal(err.class, refusals[i].class);
    }
    assert_int_equal(f->engine.starts, 0);
    assert_int_equal(phase_of(f, "ann"), -1);
}

static void a_failed_start_is_told_and_tried_again_after_its_back_off(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.start_fails = ERR_IMAGE_NOT_FOUND;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_null(asked.route);
    assert_int_equal(asked.class, ERR_IMAGE_NOT_FOUND);
    assert_int_equal(phase_of(f, "ann"), TERMINAL_FAILED);
    assert_int_equal(want(f, "ann", &asked), WANT_REFUSED);
    assert_int_equal(asked.class, ERR_IMAGE_NOT_FOUND);
    SET(f, start_fails, ERR_NONE);
    sleep_ms(120);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.starts, 2);
}

static void a_guest_that_exits_while_starting_is_reported_and_removed(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.exit_at_start = true;
    f->engine.never_ready = true;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(asked.class, ERR_GUEST_CRASHED);
    assert_non_null(strstr(asked.text, "last words"));
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    assert_int_equal(phase_of(f, "ann"), TERMINAL_FAILED);
}

static void a_guest_that_never_answers_is_stopped_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.never_ready = true;
    f->options.start_timeout_s = 1;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(asked.class, ERR_START_TIMEOUT);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
}

static void starts_side_by_side_are_limited_and_all_are_served(void **state)
{
    struct fixture *f = *state;
    struct asked asked[12];
    char users[COUNT_OF(asked)][8];
    f->options.max_starts = 3;
    f->engine.start_ms = 20;
    fleet_begin(f);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        snprintf(users[i], sizeof users[i], "u%zu", i);
        assert_int_equal(want(f, users[i], &asked[i]), WANT_WAITING);
    }
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        EVENTUALLY(asked[i].answers == 1);
        assert_non_null(asked[i].route);
        route_unref(asked[i].route);
    }
    assert_in_range(f->engine.most_running_starts, 1, 3);
}

static void limits_are_kept(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->options.max_terminals = 2;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    route_unref(obtain(f, "bob"));
    assert_int_equal(want(f, "cid", &asked), WANT_REFUSED);
    assert_int_equal(asked.class, ERR_LIMIT);
    assert_int_equal(want(f, "bob", &asked), WANT_READY);
    route_unref(asked.route);
}

static void limits_per_user_are_kept_but_not_for_the_system(void **state)
{
    struct fixture *f = *state;
    static const struct { const char *user; enum want_result second; } rows[] = { { "ann", WANT_REFUSED }, { SYSTEM_USER_ID, WANT_WAITING } };
    f->options.max_terminals_per_user = 1;
    fleet_begin(f);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_key key = { (char *)rows[i].user, (char *)"other", (char *)"default" };
        struct asked asked = { .waiter.post = post_asked };
        struct route *route;
        struct error err;
        route_unref(obtain(f, rows[i].user));
        assert_int_equal(fleet_want_terminal(f->fleet, &key, &asked.waiter, &route, &err), rows[i].second);
        if (rows[i].second == WANT_WAITING) {
            EVENTUALLY(asked.answers == 1);
            route_unref(asked.route);
        } else {
            assert_int_equal(err.class, ERR_LIMIT);
        }
    }
}

/* --- the engine ----------------------------------------------------------------------------------------------- */

static void before_the_first_listing_wants_wait(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.hold_listing = true;
    fleet_begin(f);
    assert_false(is_listed(f));
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    sleep_ms(50);
    assert_int_equal(f->engine.starts, 0);
    SET(f, hold_listing, false);
    EVENTUALLY(asked.answers == 1);
    assert_non_null(asked.route);
    route_unref(asked.route);
}

static void an_engine_that_was_never_reached_refuses_wants_with_its_text(void **state)
{
    struct fixture *f = *state;
    struct asked early, asked;
    f->engine.hold_listing = true;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &early), WANT_WAITING);
    pthread_mutex_lock(&f->engine.lock);
    error_set(&f->engine.unreachable, ERR_UNAVAILABLE, "no engine at /var/run/docker.sock");
    pthread_mutex_unlock(&f->engine.lock);
    EVENTUALLY(early.answers == 1);
    assert_int_equal(early.class, ERR_UNAVAILABLE);
    assert_int_equal(want(f, "ann", &asked), WANT_REFUSED);
    assert_int_equal(asked.class, ERR_UNAVAILABLE);
    assert_non_null(strstr(asked.text, "/var/run/docker.sock"));
    struct error err;
    assert_false(fleet_is_ready(f->fleet, &err));
    assert_non_null(strstr(err.text, "/var/run/docker.sock"));
    SET(f, unreachable.class, ERR_NONE);
    SET(f, hold_listing, false);
    EVENTUALLY(is_listed(f));
    route_unref(obtain(f, "ann"));
}

static bool knows_engine_is_away(struct fixture *f)
{
    pthread_mutex_lock(&f->fleet->lock);
    bool away = f->fleet->unreachable;
    pthread_mutex_unlock(&f->fleet->lock);
    return away;
}

static void routes_stay_when_the_engine_goes(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    pthread_mutex_lock(&f->engine.lock);
    error_set(&f->engine.unreachable, ERR_UNAVAILABLE, "gone");
    pthread_mutex_unlock(&f->engine.lock);
    EVENTUALLY(knows_engine_is_away(f));
    assert_int_equal(want(f, "bob", &asked), WANT_REFUSED);
    assert_true(has_route(f, "ann"));
    assert_false(route_is_withdrawn(route));
    SET(f, unreachable.class, ERR_NONE);
    SET(f, relist, true);
    sleep_ms(200);
    route_unref(obtain(f, "bob"));
    assert_false(route_is_withdrawn(route));
    route_unref(route);
}

static void running_guests_are_adopted_with_their_own_key(void **state)
{
    struct fixture *f = *state;
    f->engine.lose_events = true;
    guest_appears(f, "ann");
    fleet_begin(f);
    EVENTUALLY(has_route(f, "ann"));
    struct route *route = obtain(f, "ann");
    assert_string_equal(route->guest_key, "their-key");
    assert_int_equal(f->engine.starts, 0);
    route_unref(route);
}

static void a_want_before_the_listing_finds_the_guest_that_runs(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.lose_events = true;
    guest_appears(f, "ann");
    f->engine.hold_listing = true;
    fleet_begin(f);
    sleep_ms(20);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    SET(f, hold_listing, false);
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(f->engine.starts, 0);
    route_unref(asked.route);
}

static void a_crash_and_restart_of_ours_finds_everything_again(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *before = obtain(f, "ann");
    fleet_end(f);
    assert_true(route_is_withdrawn(before));
    assert_int_equal(guest_phase(f, "ann"), OBSERVED_RUNNING);
    fleet_begin(f);
    struct route *after = obtain(f, "ann");
    assert_string_equal(after->guest_key, before->guest_key);
    assert_int_equal(f->engine.starts, 1);
    route_unref(before);
    route_unref(after);
}

static void a_guest_that_ends_takes_its_route_along_and_is_started_anew(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    guest_turns(f, "ann", OBSERVED_STOPPED);
    EVENTUALLY(route_is_withdrawn(route));
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    struct route *next = obtain(f, "ann");
    assert_ptr_not_equal(next, route);
    assert_int_equal(f->engine.starts, 2);
    route_unref(route);
    route_unref(next);
}

static void a_listing_finds_what_events_lost(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    SET(f, lose_events, true);
    guest_turns(f, "ann", OBSERVED_ABSENT);
    guest_appears(f, "bob");
    sleep_ms(30);
    assert_false(route_is_withdrawn(route));
    SET(f, relist, true);
    EVENTUALLY(route_is_withdrawn(route));
    EVENTUALLY(has_route(f, "bob"));
    route_unref(route);
}

static void doubled_and_late_events_change_nothing(void **state)
{
    struct fixture *f = *state;
    f->engine.double_events = true;
    f->engine.event_ms = 30;
    fleet_begin(f);
    for (int i = 0; i < 3; i++) {
        struct terminal_filter filter = { .user_id = "ann" };
        struct stop_result result;
        struct error err;
        route_unref(obtain(f, "ann"));
        assert_int_equal(fleet_stop(f->fleet, &filter, false, false, &result, &err), 0);
        assert_int_equal(result.stopped, 1);
    }
    sleep_ms(100);
    assert_int_equal(f->engine.starts, 3);
    assert_int_equal(phase_of(f, "ann"), -1);
}

static void old_news_of_an_earlier_guest_is_ignored(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    struct terminal_key key = key_of("ann");
    struct guest old = *find_guest(&f->engine, &key);
    guest_turns(f, "ann", OBSERVED_STOPPED);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT && phase_of(f, "ann") == -1);
    struct route *route = obtain(f, "ann");
    pthread_mutex_lock(&f->engine.lock);
    struct guest *now = find_guest(&f->engine, &key);
    unsigned instance = now->instance;
    now->instance = old.instance;
    emit(&f->engine, now, true, false);
    now->phase = OBSERVED_STOPPED;
    emit(&f->engine, now, false, false);
    now->phase = OBSERVED_RUNNING;
    now->instance = instance;
    pthread_mutex_unlock(&f->engine.lock);
    sleep_ms(50);
    assert_false(route_is_withdrawn(route));
    route_unref(route);
}

static void another_instance_gets_another_route(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    guest_appears(f, "ann");
    EVENTUALLY(route_is_withdrawn(route));
    EVENTUALLY(has_route(f, "ann"));
    struct route *next = obtain(f, "ann");
    assert_string_equal(next->guest_key, "their-key");
    assert_int_equal(f->engine.starts, 1);
    route_unref(route);
    route_unref(next);
}

/* --- stopping ------------------------------------------------------------------------------------------------- */

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

static void the_end_of_the_service_answers_everyone(void **state)
{
    struct fixture *f = *state;
    struct asked asked[3];
    f->engine.start_ms = 200;
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        assert_int_equal(want(f, "ann", &asked[i]), WANT_WAITING);
    EVENTUALLY(f->engine.starts == 1);
    fleet_end(f);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        assert_int_equal(asked[i].answers, 1);
        assert_int_equal(asked[i].class, ERR_UNAVAILABLE);
    }
}

static void a_blocking_caller_gives_up_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct terminal_key key = key_of("ann");
    struct error err;
    f->engine.start_ms = 300;
    fleet_begin(f);
    assert_null(fleet_obtain_route(f->fleet, &key, clock_monotonic_ms() + 50, &err));
    assert_int_equal(err.class, ERR_STARTING);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.starts, 1);
}

/* --- what is shown -------------------------------------------------------------------------------------------- */

static void the_list_is_sorted_and_filtered(void **state)
{
    struct fixture *f = *state;
    struct terminal_info *infos;
    fleet_begin(f);
    route_unref(obtain(f, "bob"));
    route_unref(obtain(f, "ann"));
    size_t count = fleet_list(f->fleet, NULL, &infos);
    assert_int_equal(count, 2);
    assert_string_equal(infos[0].key->user_id, "ann");
    assert_string_equal(infos[1].key->user_id, "bob");
    assert_string_equal(infos[0].status, "running");
    assert_int_equal(infos[0].phase, TERMINAL_READY);
    assert_int_equal(infos[0].idle_timeout_minutes, 10);
    assert_true(clock_wall_us() - infos[0].last_active_us < 10000000);
    assert_non_null(infos[0].instance_id);
    for (size_t i = 0; i < count; i++)
        terminal_info_clear(&infos[i]);
    free(infos);
    struct terminal_filter filter = { .user_id = "ann", .policy_id = "other" };
    assert_int_equal(fleet_list(f->fleet, &filter, &infos), 0);
    free(infos);
}

static void documents_find_any_terminal_of_the_policy_and_image(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    struct route *route = fleet_find_route_of_policy(f->fleet, "default", "guest:1");
    assert_non_null(route);
    route_unref(route);
    assert_null(fleet_find_route_of_policy(f->fleet, "default", "guest:2"));
    assert_null(fleet_find_route_of_policy(f->fleet, "other", "guest:1"));
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

static void the_phases_change_only_as_the_table_says(void **state)
{
    static const char *const rows[] = { "-S.T.", "A-RTF", "AS-T.", "AS.-F", "AS.T-" };  /* from, to: A S R T F */
    for (unsigned from = 0; from <= TERMINAL_FAILED; from++)
        for (unsigned to = 0; to <= TERMINAL_FAILED; to++)
            assert_int_equal(terminal_may_go(from, to), rows[from][to] != '-' && rows[from][to] != '.');
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_begin, fixture_end)
    const struct CMUnitTest tests[] = {
        CASE(the_first_want_starts_and_the_waiter_gets_the_route),
        CASE(all_who_want_the_same_terminal_share_one_start),
        CASE(what_cannot_be_resolved_is_refused_at_once),
        CASE(a_failed_start_is_told_and_tried_again_after_its_back_off),
        CASE(a_guest_that_exits_while_starting_is_reported_and_removed),
        CASE(a_guest_that_never_answers_is_stopped_at_the_deadline),
        CASE(starts_side_by_side_are_limited_and_all_are_served),
        CASE(limits_are_kept),
        CASE(limits_per_user_are_kept_but_not_for_the_system),
        CASE(before_the_first_listing_wants_wait),
        CASE(an_engine_that_was_never_reached_refuses_wants_with_its_text),
        CASE(routes_stay_when_the_engine_goes),
        CASE(running_guests_are_adopted_with_their_own_key),
        CASE(a_want_before_the_listing_finds_the_guest_that_runs),
        CASE(a_crash_and_restart_of_ours_finds_everything_again),
        CASE(a_guest_that_ends_takes_its_route_along_and_is_started_anew),
        CASE(a_listing_finds_what_events_lost),
        CASE(doubled_and_late_events_change_nothing),
        CASE(old_news_of_an_earlier_guest_is_ignored),
        CASE(another_instance_gets_another_route),
        CASE(a_stop_is_done_when_it_returns),
        CASE(only_idle_skips_who_is_in_use),
        CASE(only_idle_skips_recent_traffic),
        CASE(a_refresh_with_reset_empties_the_home),
        CASE(a_reset_reaches_homes_of_terminals_that_do_not_run),
        CASE(who_waits_while_it_stops_gets_the_next_start),
        CASE(a_stop_during_a_start_ends_the_guest_and_serves_the_waiter_anew),
        CASE(a_stop_that_fails_is_reported_and_the_terminal_stays_usable),
        CASE(a_hung_stop_delays_no_other),
        CASE(nothing_is_stopped_while_the_engine_is_away),
        CASE(stopped_remains_are_cleared_away_by_the_next_want),
        CASE(the_end_of_the_service_answers_everyone),
        CASE(a_blocking_caller_gives_up_at_its_deadline),
        CASE(the_list_is_sorted_and_filtered),
        CASE(documents_find_any_terminal_of_the_policy_and_image),
        CASE(absent_terminals_are_forgotten),
        cmocka_unit_test(the_phases_change_only_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
