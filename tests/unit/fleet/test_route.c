/* Routes: who counts a request, and what is remembered of sessions. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "fleet/route.h"

static struct route *make_route(void)
{
    struct terminal_key key = { (char *)"ann", (char *)"default", (char *)"default" };
    struct endpoint endpoint = { .host = "127.0.0.1", .port = 8000 };
    return route_new(&key, &endpoint, "secret", 42);
}

static void a_request_is_counted_only_while_the_route_stands(void **state)
{
    struct route *route = make_route();
    assert_true(route_enter(route, 100));
    assert_int_equal(atomic_load(&route->active_requests), 1);
    assert_int_equal(atomic_load(&route->last_active_ms), 100);
    route_leave(route, 130);
    assert_int_equal(atomic_load(&route->active_requests), 0);
    assert_int_equal(atomic_load(&route->last_active_ms), 130);
    atomic_store(&route->withdrawn, true);
    assert_false(route_enter(route, 200));
    assert_int_equal(atomic_load(&route->active_requests), 0);
    assert_int_equal(atomic_load(&route->last_active_ms), 130);
    route_unref(route);
}

static void the_guest_key_becomes_a_bearer(void **state)
{
    struct route *route = make_route();
    assert_string_equal(route->authorization, "Bearer secret");
    assert_string_equal(route->guest_key, "secret");
    route_unref(route);
}

static bool recalls(struct route *route, const char *session, const char *expected)
{
    char *text = NULL;
    bool known = route_recall_session(route, str_from(session), &text);
    bool same = expected ? known && text && strcmp(text, expected) == 0 : !known && !text;
    free(text);
    return same;
}

static void a_session_is_recalled_with_the_header_it_was_made_with(void **state)
{
    struct route *route = make_route();
    route_remember_session(route, str_from("s1"), str_from("chat-1"), true);
    route_remember_session(route, str_from("s2"), str_from(""), true);
    route_remember_session(route, str_from("s3"), str_from(""), false);
    assert_true(recalls(route, "s1", "chat-1"));
    assert_true(recalls(route, "s2", ""));
    assert_true(recalls(route, "s3", NULL));
    assert_true(recalls(route, "unknown", NULL));
    route_remember_session(route, str_from("s1"), str_from("chat-2"), true);
    assert_true(recalls(route, "s1", "chat-2"));
    route_unref(route);
}

static void the_oldest_of_65_sessions_is_forgotten(void **state)
{
    struct route *route = make_route();
    for (int i = 0; i < 65; i++) {
        char session[16];
        snprintf(session, sizeof session, "s%d", i);
        route_remember_session(route, str_from(session), str_from("x"), true);
    }
    assert_true(recalls(route, "s0", NULL));
    assert_true(recalls(route, "s1", "x"));
    assert_true(recalls(route, "s64", "x"));
    route_unref(route);
}

static void an_endless_session_id_is_not_kept(void **state)
{
    struct route *route = make_route();
    char text[2000];
    memset(text, 'a', sizeof text);
    route_remember_session(route, str_of(text, 300), str_from("x"), true);
    route_remember_session(route, str_from("s"), str_of(text, 1100), true);
    char *found;
    assert_false(route_recall_session(route, str_of(text, 300), &found));
    assert_false(route_recall_session(route, str_from("s"), &found));
    route_unref(route);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_counted_only_while_the_route_stands),
        cmocka_unit_test(the_guest_key_becomes_a_bearer),
        cmocka_unit_test(a_session_is_recalled_with_the_header_it_was_made_with),
        cmocka_unit_test(the_oldest_of_65_sessions_is_forgotten),
        cmocka_unit_test(an_endless_session_id_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
