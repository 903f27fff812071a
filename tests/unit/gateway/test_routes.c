/* The order of routes (§2.1) and the passive requests, case by case. */
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/routes.h"

static const char *describe(const struct route_match *match)
{
    static char text[300];
    (void)snprintf(text, sizeof(text), "%s %.*s %.*s%s%s%s", route_kind_name(match->kind), STR_ARG(match->policy_id), STR_ARG(match->path),
                   match->passive ? " passive" : "", match->is_skills ? " skills" : "", match->creates_session ? " creates" : "");
    return text;
}

static void paths_have_their_kinds(void **state)
{
    static const struct { const char *request, *expected; } rows[] = {
        { "GET /health", "health  " }, { "HEAD /health", "health  " }, { "POST /health", "proxy default /health" },
        { "GET /ready", "ready  " }, { "GET /metrics", "metrics  " },
        { "GET /api/v1/policies", "control  " }, { "PATCH /api/v1/anything/else", "control  " }, { "GET /api/v1/", "control  " },
        { "GET /api/v1", "not_found  " }, { "GET /api/v10", "proxy default /api/v10" },
        { "GET /", "page  " }, { "POST /", "proxy default /" }, { "GET /favicon.svg", "page  " }, { "GET /_app/a/b.js", "page  " },
        { "POST /_app/x", "bad_method  " },
        { "GET /openapi.json", "document default /openapi.json" }, { "GET /p/lab/openapi.json", "document lab /openapi.json" },
        { "GET /api/config", "document default /api/config" }, { "GET /p/lab/system", "document lab /system" },
        { "POST /system", "proxy default /system" },
        { "GET /p/lab/api/v1/policies", "proxy lab /api/v1/policies" }, { "GET /p/lab/health", "proxy lab /health passive" },
        { "GET /p/lab", "proxy lab /" }, { "GET /p/lab/", "proxy lab /" }, { "GET /p/a%20b/x%2Fy", "proxy a%20b /x%2Fy" },
        { "GET /p", "proxy default /p" }, { "GET /p//x", "proxy  /x" }, { "GET /%61pi/v1/policies", "proxy default /%61pi/v1/policies" },
        { "GET //api/v1/policies", "proxy default //api/v1/policies" },
        { "GET /execute", "proxy default /execute passive" }, { "POST /execute", "proxy default /execute" },
        { "GET /execute/a/status", "proxy default /execute/a/status passive" },
        { "GET /execute/a/status?wait=0&x", "proxy default /execute/a/status passive" },
        { "GET /execute/a/status?wait=0.0", "proxy default /execute/a/status passive" },
        { "GET /execute/a/status?wait=30", "proxy default /execute/a/status" },
        { "GET /execute/a/b/status", "proxy default /execute/a/b/status" }, { "GET /execute//status", "proxy default /execute//status" },
        { "GET /ports", "proxy default /ports passive" }, { "GET /skills", "proxy default /skills skills" },
        { "GET /skills/read", "proxy default /skills/read" },
        { "POST /api/terminals", "proxy default /api/terminals creates" }, { "POST /p/l/api/terminals", "proxy l /api/terminals creates" },
        { "TRACE /x", "bad_method default /x" }, { "OPTIONS *", "not_found  " },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static struct http_request request;
        struct route_match match;
        char head[300];
        size_t scanned = 0, consumed;
        int status;
        const char *why;
        (void)snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: x\r\n\r\n", rows[i].request);
        assert_int_equal(http_parse_request(str_from(head), &scanned, &request, &consumed, &status, &why), HTTP_COMPLETE);
        routes_match(&request, &match);
        if (strcmp(describe(&match), rows[i].expected) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].request, describe(&match), rows[i].expected);
    }
}

static void headers_decide_on_documents_and_upgrades(void **state)
{
    static const struct { const char *request, *headers, *expected; } rows[] = {
        { "GET /system", "X-User-Id: alice", "proxy default /system passive" },
        { "GET /api/config", "X-User-Id: system", "document default /api/config" },
        { "GET /openapi.json", "X-User-Id: alice", "document default /openapi.json" },
        { "GET /api/terminals/abc", "Connection: upgrade\r\nUpgrade: WebSocket", "terminal default /api/terminals/abc" },
        { "GET /p/l/api/terminals/abc", "Connection: upgrade\r\nUpgrade: websocket", "terminal l /api/terminals/abc" },
        { "GET /api/terminals/abc/d", "Connection: upgrade\r\nUpgrade: websocket", "tunnel default /api/terminals/abc/d" },
        { "GET /api/terminals/abc", "", "proxy default /api/terminals/abc" },
        { "GET /proxy/80/", "Connection: upgrade\r\nUpgrade: foo", "tunnel default /proxy/80/" },
        { "GET /execute", "Connection: upgrade\r\nUpgrade: h2c", "proxy default /execute passive" },
        { "GET /api/v1/x", "Connection: upgrade\r\nUpgrade: websocket", "control  " },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static struct http_request request;
        struct route_match match;
        char head[300];
        size_t scanned = 0, consumed;
        int status;
        const char *why;
        (void)snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: x%s%s\r\n\r\n", rows[i].request, rows[i].headers[0] ? "\r\n" : "",
                       rows[i].headers);
        assert_int_equal(http_parse_request(str_from(head), &scanned, &request, &consumed, &status, &why), HTTP_COMPLETE);
        routes_match(&request, &match);
        if (strcmp(describe(&match), rows[i].expected) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].request, describe(&match), rows[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_have_their_kinds),
        cmocka_unit_test(headers_decide_on_documents_and_upgrades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
