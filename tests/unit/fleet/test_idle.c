/* Idle stops, activity in the database, resets that fall due: with a clock that the test moves. */
#include <sqlite3.h>

#include "fixture.h"

static int64_t mono_us, wall_us;

static void move_clock(int64_t seconds)
{
    mono_us += seconds * 1000000;
    wall_us += seconds * 1000000;
    clock_fake_set(mono_us, wall_us);
}

static int begin(void **state)
{
    mono_us = clock_monotonic_us();
    assert_true(clock_parse_iso("2026-11-24T06:00:00Z", &wall_us));
    clock_fake_set(mono_us, wall_us);
    return fixture_begin(state);
}

static int end(void **state)
{
    int result = fixture_end(state);
    clock_fake_set(-1, -1);
    return result;
}

static char *last_seen(struct fixture *f, const char *user)
{
    cleanup_json json_t *state = NULL;
    struct error err;
    if (store_get_state(f->store, user, "default", "default", &state, &err) < 0)
        return NULL;
    const char *text = json_text(json_object_get(state, "activity"), "last_seen_at");
    return text ? xstrdup(text) : NULL;
}

static void put_last_seen(struct fixture *f, const char *user, const char *iso)
{
    struct activity_update update = { user, "default", "default", iso };
    struct error err;
    assert_int_equal(store_put_activity(f->store, &update, 1, &err), 0);
}

static void put_schedule(struct fixture *f, const char *schedule)
{
    cleanup_json json_t *data = json_pack("{s:{s:s}}", "reset", "schedule", schedule);
    struct error err;
    assert_int_equal(store_put_lifecycle(f->store, "default", data, &err), 0);
}

/* A fleet that has swept once and knows ann's home, whose terminal does not run. */
static void begin_with_schedule(struct fixture *f, const char *last_seen, const char *schedule, bool thorough)
{
    put_last_seen(f, "ann", last_seen);
    put_schedule(f, schedule);
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    reset_sweep(f->fleet, thorough);
}

static void run_sql(struct fixture *f, const char *sql)
{
    cleanup_free char *path = xasprintf("%s/terminals.db", f->directory);
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

static void an_idle_terminal_is_stopped_at_its_timeout_and_not_before(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    move_clock(599);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    move_clock(1);
    idle_sweep(f->fleet);
    assert_true(route_is_withdrawn(route));
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    assert_int_equal(f->engine.wipes, 0);
    route_unref(route);
}

static void activity_moves_the_clock_and_sockets_alone_do_not(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    atomic_fetch_add(&route->websockets, 1);
    move_clock(599);
    route_touch(route, clock_monotonic_ms());
    move_clock(599);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    move_clock(1);
    idle_sweep(f->fleet);
    assert_true(route_is_withdrawn(route));
    route_unref(route);
}

static void a_request_in_flight_keeps_the_terminal(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    assert_true(route_enter(route, clock_monotonic_ms()));
    move_clock(3600);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    route_leave(route, clock_monotonic_ms());
    move_clock(600);
    idle_sweep(f->fleet);
    assert_true(route_is_withdrawn(route));
    route_unref(route);
}

static bool enters_meanwhile(const struct terminal *terminal, const void *context)
{
    atomic_fetch_add(&terminal->route->active_requests, 1);      /* a worker that looked before the route was withdrawn */
    return atomic_load(&terminal->route->active_requests) == 0;
}

static void a_request_that_comes_at_that_moment_keeps_the_route(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    struct terminal_key key = key_of("ann");
    pthread_mutex_lock(&f->fleet->lock);
    assert_false(terminal_withdraw_if_idle(table_find(f->fleet, &key), enters_meanwhile, NULL));
    pthread_mutex_unlock(&f->fleet->lock);
    assert_false(route_is_withdrawn(route));
    route_unref(route);
}

static void a_policy_without_a_timeout_never_stops(void **state)
{
    struct fixture *f = *state;
    struct policy_limits *limits = xcalloc(1, sizeof *limits);
    limits->image = xstrdup("guest:1");
    cleanup_json json_t *rows = json_array();
    policies_publish(f->policies, policy_snapshot_new(limits, rows));
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    move_clock(365 * 86400);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    route_unref(route);
}

static void a_terminal_of_our_own_does_not_outlive_its_use(void **state)
{
    struct fixture *f = *state;
    struct policy_limits *limits = xcalloc(1, sizeof *limits);
    limits->image = xstrdup("guest:1");
    cleanup_json json_t *rows = json_array();
    policies_publish(f->policies, policy_snapshot_new(limits, rows));
    guest_appears(f, SYSTEM_USER_ID);
    fleet_begin(f);
    EVENTUALLY(has_route(f, SYSTEM_USER_ID));
    move_clock(59);
    idle_sweep(f->fleet);
    assert_true(has_route(f, SYSTEM_USER_ID));
    move_clock(1);
    idle_sweep(f->fleet);
    EVENTUALLY(guest_phase(f, SYSTEM_USER_ID) == OBSERVED_ABSENT);
}

static void what_another_replica_saw_counts(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    move_clock(600);
    put_last_seen(f, "ann", "2026-11-24T06:05:00Z");
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    move_clock(300);
    idle_sweep(f->fleet);
    assert_true(route_is_withdrawn(route));
    route_unref(route);
}

static void activity_is_written_once_and_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    idle_write_activity(f->fleet);
    cleanup_free char *first = last_seen(f, "ann");
    assert_string_equal(first, "2026-11-24T06:00:00.000000Z");
    put_last_seen(f, "ann", "2026-11-24T05:00:00Z");
    idle_write_activity(f->fleet);
    cleanup_free char *unchanged = last_seen(f, "ann");
    assert_string_equal(unchanged, "2026-11-24T05:00:00Z");
    move_clock(60);
    route_touch(route, clock_monotonic_ms());
    route_unref(route);
    fleet_end(f);
    cleanup_free char *at_end = last_seen(f, "ann");
    assert_string_equal(at_end, "2026-11-24T06:01:00.000000Z");

    move_clock(599);
    fleet_begin(f);
    EVENTUALLY(has_route(f, "ann"));
    idle_sweep(f->fleet);
    assert_true(has_route(f, "ann"));
    move_clock(1);
    idle_sweep(f->fleet);
    assert_false(has_route(f, "ann"));
}

static void an_activity_that_lies_ahead_counts_as_now(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    put_last_seen(f, "ann", "2026-11-24T09:00:00Z");
    move_clock(600);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    cleanup_free char *rewritten = last_seen(f, "ann");
    assert_string_equal(rewritten, "2026-11-24T06:10:00.000000Z");
    move_clock(599);
    idle_sweep(f->fleet);
    assert_false(route_is_withdrawn(route));
    move_clock(1);
    idle_sweep(f->fleet);
    assert_true(route_is_withdrawn(route));
    route_unref(route);
}

static void an_adopted_terminal_that_nobody_knows_starts_its_clock_now(void **state)
{
    struct fixture *f = *state;
    guest_appears(f, "ann");
    fleet_begin(f);
    EVENTUALLY(has_route(f, "ann"));
    move_clock(599);
    idle_sweep(f->fleet);
    assert_true(has_route(f, "ann"));
    move_clock(1);
    idle_sweep(f->fleet);
    assert_false(has_route(f, "ann"));
}

/* --- resets --------------------------------------------------------------------------------------------------- */

static void a_due_reset_stops_empties_and_is_marked(void **state)
{
    struct fixture *f = *state;
    put_schedule(f, "@daily");
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    reset_sweep(f->fleet, false);
    assert_false(route_is_withdrawn(route));
    move_clock(18 * 3600);
    reset_sweep(f->fleet, false);
    EVENTUALLY(f->engine.wipes == 1);
    assert_true(route_is_withdrawn(route));
    EVENTUALLY(phase_of(f, "ann") == -1);
    reset_sweep(f->fleet, false);
    sleep_ms(30);
    assert_int_equal(f->engine.wipes, 1);
    route_unref(route);
}

static void a_reset_that_fell_due_is_applied_before_the_next_start(void **state)
{
    struct fixture *f = *state;
    put_schedule(f, "@daily");
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    struct stop_result result;
    struct error err;
    assert_int_equal(fleet_stop(f->fleet, NULL, false, false, &result, &err), 0);
    assert_int_equal(f->engine.wipes, 0);
    move_clock(86400);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.wipes, 1);
}

static void a_reset_that_fell_due_is_applied_after_an_idle_stop(void **state)
{
    struct fixture *f = *state;
    put_schedule(f, "2026-11-24T06:05:00Z");
    fleet_begin(f);
    route_unref(obtain(f, "ann"));
    move_clock(600);
    idle_sweep(f->fleet);
    EVENTUALLY(f->engine.wipes == 1);
    EVENTUALLY(phase_of(f, "ann") == -1);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.wipes, 1);
}

static void a_reset_reaches_a_terminal_that_does_not_run(void **state)
{
    struct fixture *f = *state;
    begin_with_schedule(f, "2026-11-20T00:00:00Z", "@daily", false);
    assert_int_equal(f->engine.wipes, 0);
    move_clock(86400);
    reset_sweep(f->fleet, false);
    EVENTUALLY(f->engine.wipes == 1);
    assert_int_equal(f->engine.starts, 0);
}

static void a_failed_wipe_is_not_marked_and_tried_again(void **state)
{
    struct fixture *f = *state;
    begin_with_schedule(f, "2026-11-20T00:00:00Z", "@daily", false);
    move_clock(86400);
    SET(f, wipe_fails, ERR_INTERNAL);
    reset_sweep(f->fleet, false);
    EVENTUALLY(phase_of(f, "ann") == TERMINAL_FAILED);
    cleanup_json json_t *row = NULL;
    struct error err;
    assert_int_equal(store_get_state(f->store, "ann", "default", "default", &row, &err), 0);
    assert_true(json_is_null(json_object_get(json_object_get(row, "reset"), "last_applied_at")));
    SET(f, wipe_fails, ERR_NONE);
    for (int i = 0; i < 100 && phase_of(f, "ann") != -1; i++) {
        move_clock(1);
        struct terminal_key key = key_of("ann");
        pthread_mutex_lock(&f->fleet->lock);
        struct terminal *terminal = table_find(f->fleet, &key);
        if (terminal)
            reconcile_soon(f->fleet, terminal);
        pthread_mutex_unlock(&f->fleet->lock);
        sleep_ms(5);
    }
    assert_int_equal(phase_of(f, "ann"), -1);
    assert_int_equal(f->engine.wipes, 2);
}

static void stop_ann(struct fixture *f)
{
    struct stop_result result;
    struct error err;
    assert_int_equal(fleet_stop(f->fleet, &(struct terminal_filter){ .user_id = "ann" }, false, false, &result, &err), 0);
}

static void a_reset_waits_for_a_database_that_can_be_written(void **state)
{
    struct fixture *f = *state;
    begin_with_schedule(f, "2026-11-24T06:00:00Z", "2026-11-24T06:05:00Z", true);
    move_clock(600);
    run_sql(f, "CREATE TRIGGER full BEFORE UPDATE ON policy_lifecycle_states BEGIN SELECT RAISE(FAIL, 'full'); END");
    for (int i = 0; i < 3; i++) {
        struct route *route = obtain(f, "ann");
        reset_sweep(f->fleet, true);
        sleep_ms(30);
        assert_false(route_is_withdrawn(route));
        route_unref(route);
        stop_ann(f);
    }
    assert_int_equal(f->engine.wipes, 0);
    run_sql(f, "DROP TRIGGER full");
    for (int i = 0; i < 3; i++) {
        route_unref(obtain(f, "ann"));
        stop_ann(f);
    }
    assert_int_equal(f->engine.wipes, 1);
}

static void a_database_that_fails_between_wipe_and_mark_costs_one_wipe(void **state)
{
    struct fixture *f = *state;
    begin_with_schedule(f, "2026-11-24T06:00:00Z", "2026-11-24T06:05:00Z", true);
    move_clock(600);
    run_sql(f, "CREATE TRIGGER full BEFORE UPDATE ON policy_lifecycle_states WHEN json_extract(new.data, '$.reset.last_applied_at') NOTNULL"
               " BEGIN SELECT RAISE(FAIL, 'full'); END");
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.wipes, 1);
    run_sql(f, "DROP TRIGGER full");
    for (int i = 0; i < 3; i++) {
        stop_ann(f);
        route_unref(obtain(f, "ann"));
    }
    assert_int_equal(f->engine.wipes, 2);
}

static void a_schedule_that_was_away_does_not_come_back_due(void **state)
{
    struct fixture *f = *state;
    begin_with_schedule(f, "2026-11-20T00:00:00Z", "@daily", false);
    put_schedule(f, "");
    reset_sweep(f->fleet, true);
    move_clock(3 * 86400);
    put_schedule(f, "@daily");
    reset_sweep(f->fleet, true);
    sleep_ms(30);
    assert_int_equal(f->engine.wipes, 0);
}

/* How often `words` are in the file that standard error goes to. */
static unsigned count_logged(const char *path, const char *words)
{
    cleanup_free char *text = NULL;
    struct error err;
    size_t len;
    unsigned count = 0;
    assert_int_equal(file_read(path, 1024 * 1024, &text, &len, &err), 0);
    for (const char *at = text; (at = strstr(at, words)); at++)
        count++;
    return count;
}

static void a_schedule_that_cannot_be_read_is_told_once(void **state)
{
    static const char *const users[] = { "ann", "bob", "cyn", "dan", "eve" };
    struct fixture *f = *state;
    char path[] = "/tmp/terminals-log-XXXXXX";
    unsigned told[3];
    cleanup_fd int file = mkstemp(path), standard_error = dup(STDERR_FILENO);
    for (size_t i = 0; i < COUNT_OF(users); i++)
        put_last_seen(f, users[i], "2026-11-20T00:00:00Z");
    put_schedule(f, "every other day");
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    log_configure(LOG_WARNING, false);
    assert_true(file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    for (size_t round = 0; round < COUNT_OF(told); round++) {
        put_schedule(f, round < 2 ? "every other day" : "now and then");
        reset_sweep(f->fleet, true);
        told[round] = count_logged(path, "a stored reset schedule cannot be read");
    }
    assert_true(dup2(standard_error, STDERR_FILENO) >= 0);
    log_configure(LOG_ERROR, false);
    unlink(path);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], 1);
    assert_int_equal(told[2], 2);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(an_idle_terminal_is_stopped_at_its_timeout_and_not_before),
        CASE(activity_moves_the_clock_and_sockets_alone_do_not),
        CASE(a_request_in_flight_keeps_the_terminal),
        CASE(a_request_that_comes_at_that_moment_keeps_the_route),
        CASE(a_policy_without_a_timeout_never_stops),
        CASE(a_terminal_of_our_own_does_not_outlive_its_use),
        CASE(what_another_replica_saw_counts),
        CASE(activity_is_written_once_and_survives_a_restart),
        CASE(an_activity_that_lies_ahead_counts_as_now),
        CASE(an_adopted_terminal_that_nobody_knows_starts_its_clock_now),
        CASE(a_due_reset_stops_empties_and_is_marked),
        CASE(a_reset_that_fell_due_is_applied_before_the_next_start),
        CASE(a_reset_that_fell_due_is_applied_after_an_idle_stop),
        CASE(a_reset_reaches_a_terminal_that_does_not_run),
        CASE(a_failed_wipe_is_not_marked_and_tried_again),
        CASE(a_reset_waits_for_a_database_that_can_be_written),
        CASE(a_database_that_fails_between_wipe_and_mark_costs_one_wipe),
        CASE(a_schedule_that_was_away_does_not_come_back_due),
        CASE(a_schedule_that_cannot_be_read_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
