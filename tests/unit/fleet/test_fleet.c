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

static void a_guest_that_is_gone_is_not_probed(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    struct terminal_key key = key_of("ann");
    pthread_mutex_lock(&f->fleet->lock);
    struct terminal *terminal = table_find(f->fleet, &key);
    observed_clear(&terminal->observed);        /* as when its end was told, and the work queue has not come to it yet */
    pthread_mutex_unlock(&f->fleet->lock);
    fleet_suspect(f->fleet, route);
    assert_int_equal(f->fleet->by_probe.count, 0);
    route_unref(route);
}

static void end_pull(struct fixture *f, const char *user)
{
    struct terminal_key key = key_of(user);
    pthread_mutex_lock(&f->engine.lock);
    f->engine.pulls = false;
    set_phase(&f->engine, find_guest(&f->engine, &key), OBSERVED_RUNNING);
    pthread_mutex_unlock(&f->engine.lock);
}

static void a_pull_outlasts_who_waits_for_it(void **state)
{
    struct fixture *f = *state;
    struct asked first, second;
    f->engine.pulls = true;
    f->options.start_timeout_s = 1;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &first), WANT_WAITING);
    EVENTUALLY(first.answers == 1);
    assert_int_equal(first.class, ERR_STARTING);
    assert_non_null(strstr(first.text, "pulled"));
    assert_int_equal(guest_phase(f, "ann"), OBSERVED_STARTING);
    assert_int_equal(want(f, "ann", &second), WANT_WAITING);
    end_pull(f, "ann");
    EVENTUALLY(second.answers == 1);
    assert_non_null(second.route);
    route_unref(second.route);
    assert_int_equal(f->engine.starts, 1);
}

static void a_guest_has_its_time_to_boot_after_the_pull(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    f->engine.pulls = f->engine.never_ready = true;
    f->options.start_timeout_s = 1;
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_STARTING);
    sleep_ms(600);
    int64_t began_ms = clock_monotonic_ms();
    end_pull(f, "ann");
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(asked.class, ERR_START_TIMEOUT);
    assert_true(clock_monotonic_ms() - began_ms >= 900);
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

struct listener {
    int fd;
    pthread_t thread;
};

static void *answer_health(void *argument)
{
    const struct listener *listener = argument;
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char request[512];
    for (int client; (client = accept(listener->fd, NULL, NULL)) >= 0; close(client))
        if (read(client, request, sizeof request) > 0)
            (void)!write(client, answer, sizeof answer - 1);
    return NULL;
}

static void a_guest_is_ready_once_it_answers_and_ended_when_it_refuses(void **state)
{
    struct fixture *f = *state;
    struct listener listener = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    struct asked asked;
    assert_int_equal(bind(listener.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &len), 0);
    f->engine.port = ntohs(address.sin_port);
    fleet_begin(f);
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_RUNNING);
    sleep_ms(50);
    assert_int_equal(asked.answers, 0);
    assert_int_equal(phase_of(f, "ann"), TERMINAL_STARTING);
    assert_int_equal(listen(listener.fd, 16), 0);
    listener.thread = thread_start("guest", answer_health, &listener);
    EVENTUALLY(asked.answers == 1);
    struct route *route = asked.route;
    assert_int_equal(route->endpoint.port, f->engine.port);

    /* Suspected without reason, it stays. */
    fleet_suspect(f->fleet, route);
    sleep_ms(50);
    assert_false(route_is_withdrawn(route));

    /* Nothing listens any more: it is stopped, after SUSPECT_MS; here sooner. */
    shutdown(listener.fd, SHUT_RDWR);
    pthread_join(listener.thread, NULL);
    close(listener.fd);
    pthread_mutex_lock(&f->fleet->lock);
    health_begin_probe(f->fleet, table_find(f->fleet, route->key), 50);
    pthread_mutex_unlock(&f->fleet->lock);
    EVENTUALLY(route_is_withdrawn(route));
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    route_unref(route);
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

static void ready_means_that_the_guests_that_run_can_be_reached(void **state)
{
    struct fixture *f = *state;
    f->engine.lose_events = true;
    for (int i = 0; i < 20; i++) {
        char user[8];
        snprintf(user, sizeof user, "u%d", i);
        guest_appears(f, user);
    }
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    for (int i = 0; i < 20; i++) {
        char user[8];
        snprintf(user, sizeof user, "u%d", i);
        assert_true(has_route(f, user));
    }
}

static void guests_that_do_not_answer_hold_up_nobody(void **state)
{
    struct fixture *f = *state;
    f->engine.never_ready = true;
    guest_appears(f, "ann");
    int64_t began_ms = clock_monotonic_ms();
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    assert_true(clock_monotonic_ms() - began_ms < 2500);
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

/* --- ends ---------------------------------------------------------------------------------------------------- */

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
        CASE(a_guest_that_is_gone_is_not_probed),
        CASE(a_pull_outlasts_who_waits_for_it),
        CASE(a_guest_has_its_time_to_boot_after_the_pull),
        CASE(a_guest_is_ready_once_it_answers_and_ended_when_it_refuses),
        CASE(starts_side_by_side_are_limited_and_all_are_served),
        CASE(limits_are_kept),
        CASE(limits_per_user_are_kept_but_not_for_the_system),
        CASE(before_the_first_listing_wants_wait),
        CASE(an_engine_that_was_never_reached_refuses_wants_with_its_text),
        CASE(routes_stay_when_the_engine_goes),
        CASE(running_guests_are_adopted_with_their_own_key),
        CASE(ready_means_that_the_guests_that_run_can_be_reached),
        CASE(guests_that_do_not_answer_hold_up_nobody),
        CASE(a_want_before_the_listing_finds_the_guest_that_runs),
        CASE(a_crash_and_restart_of_ours_finds_everything_again),
        CASE(a_guest_that_ends_takes_its_route_along_and_is_started_anew),
        CASE(a_listing_finds_what_events_lost),
        CASE(doubled_and_late_events_change_nothing),
        CASE(old_news_of_an_earlier_guest_is_ignored),
        CASE(another_instance_gets_another_route),
        CASE(the_end_of_the_service_answers_everyone),
        CASE(a_blocking_caller_gives_up_at_its_deadline),
        CASE(the_list_is_sorted_and_filtered),
        CASE(documents_find_any_terminal_of_the_policy_and_image),
        cmocka_unit_test(the_phases_change_only_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
