/* What the gateway answers itself: health, page, control plane, documents, refusals, CORS, limits. */
#include <sys/resource.h>

#include "stand_in.h"

#define H "HTTP/1.1\r\nHost: x\r\n"

static void answers_and_refusals(void **state)
{
    static const struct { const char *name, *request; int status; const char *body; } rows[] = {
        { "health", "GET /health " H "\r\n", 200, "{\"status\":true}" },
        { "ready", "GET /ready " H "\r\n", 200, "{\"status\":true}" },
        { "metrics want a key", "GET /metrics " H "\r\n", 401, "{\"detail\":\"Missing Authorization header\"}" },
        { "metrics", "GET /metrics " H KEY "\r\n", 200, NULL },
        { "page", "GET / " H "\r\n", 200, NULL },
        { "page file that is not there", "GET /_app/none.js " H "\r\n", 404, "{\"detail\":\"Not Found\"}" },
        { "page is never proxied", "POST /_app/x " H ALICE "Content-Length: 0\r\n\r\n", 405, NULL },
        { "control plane wants a key", "GET /api/v1/policies " H "\r\n", 401, "{\"detail\":\"Missing Authorization header\"}" },
        { "control plane", "GET /api/v1/policies?x=1 " H KEY "\r\n", 200, "GET /api/v1/policies?x=1 [] 0" },
        { "control plane body", "PUT /api/v1/policies/a%20b " H KEY "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 200,
          "PUT /api/v1/policies/a%20b? [application/json] 2" },
        { "control plane chunked body", "PUT /api/v1/x " H KEY "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n", 200,
          "PUT /api/v1/x? [] 3" },
        { "control plane 405", "GET /api/v1/nowhere " H KEY "\r\n", 405, NULL },
        { "control plane root", "GET /api/v1 " H KEY "\r\n", 404, "{\"detail\":\"Not Found\"}" },
        { "control plane body too large", "PUT /api/v1/x " H KEY "Content-Length: 1048577\r\n\r\n", 413, NULL },
        { "data plane without key", "GET /execute " H "X-User-Id: alice\r\n\r\n", 401, "{\"detail\":\"Missing Authorization header\"}" },
        { "data plane with another scheme", "GET /execute " H "Authorization: Basic x\r\nX-User-Id: alice\r\n\r\n", 401,
          "{\"detail\":\"Invalid Authorization header\"}" },
        { "data plane without user", "GET /execute " H KEY "\r\n", 422,
          "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"X-User-Id\"],\"msg\":\"Field required\",\"input\":null}]}" },
        { "authentication comes first", "GET /execute " H "\r\n", 401, NULL },
        { "empty user", "GET /x " H KEY "X-User-Id: \r\n\r\n", 400, NULL },
        { "path-like user", "GET /x " H KEY "X-User-Id: ../../x\r\n\r\n", 400, NULL },
        { "invalid UTF-8 user", "GET /x " H KEY "X-User-Id: \xff\r\n\r\n", 400, NULL },
        { "reserved user", "GET /x " H KEY "X-User-Id: system\r\n\r\n", 400, "{\"detail\":\"The user id 'system' is reserved\"}" },
        { "two users", "GET /x " H ALICE "X-User-Id: alice\r\n\r\n", 400, "{\"detail\":\"The header X-User-Id was sent more than once\"}" },
        { "two contexts", "GET /x " H ALICE "X-Terminal-Context-Id: chat:1\r\nX-Terminal-Context-Id: chat:1\r\n\r\n", 400, NULL },
        { "token of another", "GET /x " H "Authorization: Bearer slow-bob\r\nX-User-Id: alice\r\n\r\n", 403,
          "{\"detail\":\"X-User-Id does not match authenticated identity\"}" },
        { "token of another and unknown policy", "GET /p/nope/x " H "Authorization: Bearer slow-bob\r\nX-User-Id: alice\r\n\r\n", 403, NULL },
        { "Open WebUI is away", "GET /x " H "Authorization: Bearer slow-down\r\nX-User-Id: alice\r\n\r\n", 502,
          "{\"detail\":\"Failed to reach Open WebUI\"}" },
        { "unknown policy", "POST /p/nope/x " H ALICE "Content-Length: 0\r\n\r\n", 404, "{\"detail\":\"Policy 'nope' not found\"}" },
        { "policy before context", "GET /p/nope/x " H ALICE "X-Terminal-Context-Id: foo\r\n\r\n", 404, NULL },
        { "policy of others", "GET /p/closed/x " H "Authorization: Bearer slow-alice\r\nX-User-Id: alice\r\n\r\n", 403,
          "{\"detail\":\"Not allowed to use policy 'closed'\"}" },
        { "bad context", "GET /x " H ALICE "X-Terminal-Context-Id: foo\r\n\r\n", 400,
          "{\"detail\":\"only chat and automation contexts are supported\"}" },
        { "escaped slash in a policy", "GET /p/a%2Fb/x " H ALICE "\r\n", 400, "{\"detail\":\"Invalid policy id\"}" },
        { "escaped NUL in a policy", "GET /p/lab%00/x " H ALICE "\r\n", 400, "{\"detail\":\"Invalid policy id\"}" },
        { "bad escape in a policy", "GET /p/lab%zz/x " H ALICE "\r\n", 400, "{\"detail\":\"Invalid policy id\"}" },
        { "no policy", "GET /p//x " H ALICE "\r\n", 400, "{\"detail\":\"Invalid policy id\"}" },
        { "method that is not proxied", "TRACE /x " H ALICE "\r\n", 405, "{\"detail\":\"Method Not Allowed\"}" },
        { "spec of an unknown policy", "GET /p/nope/openapi.json " H KEY "\r\n", 404, "{\"detail\":\"Policy 'nope' not found\"}" },
        { "spec wants a key", "GET /openapi.json " H "\r\n", 401, NULL },
        { "spec cannot be had", "GET /openapi.json " H KEY "\r\n", 502,
          "{\"error\":\"Failed to fetch OpenAPI spec from terminal instance\"}" },
        { "spec for two users", "GET /openapi.json " H KEY "X-User-Id: a\r\nX-User-Id: b\r\n\r\n", 400,
          "{\"detail\":\"The header X-User-Id was sent more than once\"}" },
        { "two keys", "GET /execute " H KEY KEY "X-User-Id: alice\r\n\r\n", 401, "{\"detail\":\"Invalid Authorization header\"}" },
        { "two keys for the control plane", "GET /api/v1/policies " H KEY KEY "\r\n", 401, "{\"detail\":\"Invalid Authorization header\"}" },
        { "two keys for metrics", "GET /metrics " H KEY KEY "\r\n", 401, "{\"detail\":\"Invalid Authorization header\"}" },
        { "malformed head", "GET /x HTTP/1.1\r\nbad field\r\n\r\n", 400, NULL },
        { "smuggling", "POST /x " H ALICE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, NULL },
        { "unknown version", "GET /x HTTP/3.0\r\n\r\n", 505, NULL },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("             %s\n", rows[i].name);
        expect_answer(rows[i].request, rows[i].status, rows[i].body);
    }
    assert_int_equal(fleet.wants, 0);
}

static void documents_are_served_without_a_user(void **state)
{
    static const char *const requests[] = {
        "GET /openapi.json " H KEY "\r\n", "GET /p/lab/openapi.json " H KEY "\r\n", "GET /api/config " H KEY "\r\n",
        "GET /p/lab/system " H KEY "X-User-Id: system\r\n\r\n", "GET /openapi.json " H ALICE "\r\n",
    };
    document_known = true;
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        expect_answer(requests[i], 200, "{\"openapi\":1}");
    document_known = false;
    document_obtainable = true;
    expect_answer(requests[1], 200, "{\"openapi\":1}");
    assert_true(document_may_start);
    assert_string_equal(document_policy, "lab");
    assert_int_equal(fleet.wants, 0);
}

static void verified_token_serves_its_owner(void **state)
{
    int client = client_connect();
    say(client, "GET /x " H "Authorization: Bearer slow-alice\r\nX-User-Id: alice\r\n\r\n");
    int guest = guest_accept();
    assert_has(hear_head(guest), "Authorization: Bearer guest-key\r\n");
    (void)close(client);
    (void)close(guest);
}

static void ready_tells_what_is_missing(void **state)
{
    fleet.ready = false;
    expect_answer("GET /ready " H "\r\n", 503, "{\"status\":false,\"detail\":\"no listing yet\"}");
}

static void page_can_be_switched_off(void **state)
{
    settings.enable_ui = false;
    gateway_reconfigure(gateway, &settings);
    static const char *const paths[] = { "/", "/favicon.svg", "/_app/app.js" };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char request[100];
        (void)snprintf(request, sizeof(request), "GET %s " H "\r\n", paths[i]);
        expect_answer(request, 404, "{\"detail\":\"Not Found\"}");
    }
}

static void gathered_body_waits_for_continue(void **state)
{
    int client = client_connect();
    say(client, "PUT /api/v1/x " H KEY "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    hear(client, "HTTP/1.1 100 Continue\r\n\r\n");
    say(client, "ab");
    assert_true(is_silent(client, 50));
    say(client, "cdGET /health " H "\r\n");
    const char *head = strdup(hear_head(client));
    assert_string_equal(hear_body(client, head), "PUT /api/v1/x? [] 4");
    free((void *)head);
    head = hear_head(client);
    assert_string_equal(hear_body(client, head), "{\"status\":true}");
    (void)close(client);
}

static void cors_only_for_named_origins(void **state)
{
    char *origins[] = { (char *)"https://a.example" };
    int client = client_connect();
    say(client, "GET /health " H "Origin: https://a.example\r\n\r\n");
    assert_has_not(hear_head(client), "Access-Control");
    hear(client, "{\"status\":true}");
    settings.cors_allowed_origins.items = origins;
    settings.cors_allowed_origins.count = 1;
    gateway_reconfigure(gateway, &settings);
    say(client, "OPTIONS /api/v1/policies " H "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n"
        "Access-Control-Request-Headers: authorization\r\n\r\n");
    const char *head = hear_head(client);
    assert_has(head, "HTTP/1.1 200 ");
    assert_has(head, "Access-Control-Allow-Origin: https://a.example\r\n");
    assert_has(head, "Access-Control-Allow-Headers: authorization\r\n");
    hear(client, "OK");
    say(client, "GET /health " H "Origin: https://b.example\r\n\r\n");
    assert_has_not(hear_head(client), "Access-Control");
    hear(client, "{\"status\":true}");
    (void)close(client);
}

static void too_many_connections_are_told(void **state)
{
    stop_gateway();
    settings.max_connections = 2;
    start_gateway();
    int first = client_connect(), second = client_connect();
    say(second, "GET /health " H "\r\n");
    (void)hear_head(second);
    int third = client_connect();
    const char *head = hear_head(third);
    assert_has(head, "HTTP/1.1 503 ");
    assert_has(head, "\r\nX-Request-Id: ");
    hear(third, "{\"error\":\"Too many connections, try again\",\"reason\":\"limit_reached\"}\n");
    hear_end(third);
    (void)close(first);
    (void)close(second);
    (void)close(third);
}

static void taken_port_is_explained(void **state)
{
    struct error err = { 0 };
    settings.port = gateway_port(gateway);
    assert_null(gateway_new(&(struct gateway_options){ .settings = &settings, .policies = policies, .pool = pool }, &err));
    assert_int_equal(err.class, ERR_CONFLICT);
    assert_has(err.text, "TERMINALS_PORT");
}

static void largest_head_and_too_large_a_head(void **state)
{
    static char request[80000];
    int len = snprintf(request, sizeof(request), "GET /health " H "X-Long: ");
    memset(request + len, 'x', 60000);
    (void)snprintf(request + len + 60000, 10, "\r\n\r\n");
    expect_answer(request, 200, NULL);
    memset(request + len, 'x', 70000);
    (void)snprintf(request + len + 70000, 10, "\r\n\r\n");
    expect_answer(request, 431, NULL);
}

/* Stands the clock `ms` after now, and wakes the worker so that it looks at it. */
static void pass_time(int64_t ms)
{
    clock_fake_set(clock_monotonic_us() + ms * 1000, clock_wall_us() + ms * 1000);
    int waker = client_connect();
    say(waker, "GET /health " H "\r\n");
    (void)hear_head(waker);
    (void)close(waker);
}

static void heads_and_idle_connections_have_their_time(void **state)
{
    int idle = client_connect(), slow = client_connect();
    say(idle, "GET /health " H "\r\n");
    (void)hear_head(idle);
    hear(idle, "{\"status\":true}");
    say(slow, "GET /heal");
    usleep(50000);
    pass_time(58000);
    say(slow, "th HTTP/1.1");           /* one byte now and then does not help */
    assert_true(is_silent(slow, 100));
    pass_time(3000);
    assert_has(hear_head(slow), "HTTP/1.1 408 ");
    assert_true(is_silent(idle, 50));
    pass_time(15000);
    hear_end(idle);
    clock_fake_set(-1, -1);
    (void)close(idle);
    (void)close(slow);
}

static void stalled_api_body_is_given_up(void **state)
{
    int client = client_connect();
    say(client, "PUT /api/v1/x " H KEY "Content-Length: 10\r\n\r\nabc");
    usleep(50000);
    pass_time(301000);
    assert_has(hear_head(client), "HTTP/1.1 408 ");
    clock_fake_set(-1, -1);
    (void)close(client);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(answers_and_refusals), ROW(documents_are_served_without_a_user), ROW(verified_token_serves_its_owner),
        ROW(ready_tells_what_is_missing), ROW(page_can_be_switched_off), ROW(gathered_body_waits_for_continue),
        ROW(cors_only_for_named_origins), ROW(too_many_connections_are_told), ROW(taken_port_is_explained),
        ROW(largest_head_and_too_large_a_head), ROW(heads_and_idle_connections_have_their_time), ROW(stalled_api_body_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
