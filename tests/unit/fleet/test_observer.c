/* What the engine tells of guests, late, in part, or under other names; and guests that are missed, or found running and do not answer. */
#include "fixture.h"

/* Tells what an inspection on Docker does: an absence names no instance. */
static void tell_guest(struct fixture *f, const char *user, const char *name, bool absent)
{
    struct terminal_key key = key_of(user);
    pthread_mutex_lock(&f->engine.lock);
    struct guest seen = *find_guest(&f->engine, &key);
    if (name)
        seen.name = (char *)name;
    tell(&f->engine, &seen, absent, absent);
    pthread_mutex_unlock(&f->engine.lock);
}

static void a_guest_that_was_only_not_found_is_found_again(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    tell_guest(f, "ann", NULL, true);
    EVENTUALLY(route_is_withdrawn(route));
    route_unref(route);
    tell_guest(f, "ann", NULL, false);
    EVENTUALLY(has_route(f, "ann"));

    /* An empty listing, as one that the engine wrote before the guest was made. */
    route = obtain(f, "ann");
    f->fleet->observer.listing_begin(&f->fleet->observer);
    f->fleet->observer.listing_end(&f->fleet->observer);
    EVENTUALLY(route_is_withdrawn(route));
    tell_guest(f, "ann", NULL, false);
    EVENTUALLY(has_route(f, "ann"));
    assert_int_equal(f->engine.starts, 1);
    assert_int_equal(f->engine.stops, 0);
    route_unref(route);
}

static void a_guest_that_the_engine_cannot_describe_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct observer *observer;
    fleet_begin(f);
    struct route *ann = obtain(f, "ann"), *bob = obtain(f, "bob");
    struct terminal_key key = key_of("ann");
    char name[TERMINAL_NAME_SIZE];
    terminal_name(&key, "terminals-", name);
    observer = &f->fleet->observer;
    observer->listing_begin(observer);
    observer->keep(observer, name);
    observer->keep(observer, "terminals-nobody-knows");
    observer->listing_end(observer);
    EVENTUALLY(route_is_withdrawn(bob));
    assert_false(route_is_withdrawn(ann));
    route_unref(ann);
    route_unref(bob);
}

static void a_guest_under_another_name_stays_the_same_terminal(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    tell_guest(f, "ann", "renamed", false);
    tell_guest(f, "ann", NULL, true);
    sleep_ms(30);
    assert_false(route_is_withdrawn(route));
    tell_guest(f, "ann", "renamed", true);
    EVENTUALLY(route_is_withdrawn(route));
    route_unref(route);
}

static void a_suspected_guest_is_looked_at_before_it_is_asked(void **state)
{
    struct fixture *f = *state;
    fleet_begin(f);
    struct route *route = obtain(f, "ann");
    SET(f, port_after_look, 10);
    fleet_suspect(f->fleet, route);
    EVENTUALLY(route_is_withdrawn(route));
    EVENTUALLY(has_route(f, "ann"));
    struct route *next = obtain(f, "ann");
    assert_int_equal(next->endpoint.port, 10);
    assert_int_equal(f->engine.looks, 1);
    assert_int_equal(f->engine.stops, 0);
    route_unref(route);
    route_unref(next);
}

/* Takes connections and never answers, as a paused guest's kernel does. */
static int listen_silently(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(listen(fd, 64), 0);
    f->engine.port = ntohs(address.sin_port);
    return fd;
}

static void a_guest_that_was_found_running_is_not_ended_for_its_silence(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    int fd = listen_silently(f);
    f->options.start_timeout_s = 1;
    guest_appears(f, "ann");
    fleet_begin(f);
    EVENTUALLY(is_listed(f));
    assert_int_equal(want(f, "ann", &asked), WANT_WAITING);
    EVENTUALLY(asked.answers == 1);
    assert_int_equal(asked.class, ERR_START_TIMEOUT);
    assert_non_null(strstr(asked.text, "left alone"));
    sleep_ms(1500);
    assert_int_equal(guest_phase(f, "ann"), OBSERVED_RUNNING);
    assert_int_equal(f->engine.stops, 0);

    /* Who comes next has it looked at, which wakes it. */
    SET(f, port_after_look, f->engine.port);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.starts, 0);
    close(fd);
}

static void a_guest_that_was_found_running_and_refuses_is_replaced(void **state)
{
    struct fixture *f = *state;
    f->options.start_timeout_s = 1;
    f->engine.never_ready = true;
    guest_appears(f, "ann");            /* on a port where nobody listens */
    fleet_begin(f);
    EVENTUALLY(guest_phase(f, "ann") == OBSERVED_ABSENT);
    SET(f, never_ready, false);
    sleep_ms(120);
    route_unref(obtain(f, "ann"));
    assert_int_equal(f->engine.starts, 1);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_begin, fixture_end)
    const struct CMUnitTest tests[] = {
        CASE(a_guest_that_was_only_not_found_is_found_again),
        CASE(a_guest_that_the_engine_cannot_describe_stays_as_it_is),
        CASE(a_guest_under_another_name_stays_the_same_terminal),
        CASE(a_suspected_guest_is_looked_at_before_it_is_asked),
        CASE(a_guest_that_was_found_running_is_not_ended_for_its_silence),
        CASE(a_guest_that_was_found_running_and_refuses_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
