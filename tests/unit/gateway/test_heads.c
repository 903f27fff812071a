/* Heads written anew, and the strings of our own answers. */
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/answer.h"
#include "gateway/proxy_head.h"

static void requests_reach_the_guest_as_the_rules_say(void **state)
{
    static const struct { const char *name, *head, *path; bool tunnel; const char *expected; } rows[] = {
        { "plain", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "/a", false, "GET /a HTTP/1.1\r\nHost: g:1\r\n" },
        { "query kept byte for byte", "GET /p/x/a%2F?b=%23&c=?d HTTP/1.1\r\nHost: x\r\n\r\n", "/a%2F", false,
          "GET /a%2F?b=%23&c=?d HTTP/1.1\r\nHost: g:1\r\n" },
        { "empty query", "GET /a? HTTP/1.1\r\nHost: x\r\n\r\n", "/a", false, "GET /a? HTTP/1.1\r\nHost: g:1\r\n" },
        { "identity is cut off", "GET /a HTTP/1.1\r\nHost: x\r\nx-user-id: u\r\nX-TERMINAL-CONTEXT-ID: c\r\nauthorization: k\r\n\r\n", "/a", false,
          "GET /a HTTP/1.1\r\nHost: g:1\r\n" },
        { "others stay in order", "GET /a HTTP/1.1\r\nB: 2\r\nHost: x\r\nA: 1\r\nB:\r\n\r\n", "/a", false,
          "GET /a HTTP/1.1\r\nHost: g:1\r\nB: 2\r\nA: 1\r\nB: \r\n" },
        { "hop by hop", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close, A\r\nA: 1\r\nTE: x\r\nTrailer: y\r\nProxy-Connection: z\r\nUpgrade: u\r\n\r\n",
          "/a", false, "GET /a HTTP/1.1\r\nHost: g:1\r\n" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static struct http_request request;
        cleanup_buf struct buf out = { 0 };
        size_t scanned = 0, consumed;
        int status;
        const char *why;
        char expected[500];
        print_message("             %s\n", rows[i].name);
        assert_int_equal(http_parse_request(str_from(rows[i].head), &scanned, &request, &consumed, &status, &why), HTTP_COMPLETE);
        proxy_append_request(&out, &request, &(struct guest_head){ .path = str_from(rows[i].path), .host = "g:1",
            .authorization = "Bearer k", .request_id = "r", .tunnel = rows[i].tunnel });
        buf_append_char(&out, '\0');
        (void)snprintf(expected, sizeof(expected), "%sAuthorization: Bearer k\r\nX-Request-Id: r\r\n\r\n", rows[i].expected);
        assert_string_equal(out.data, expected);
    }
}

static void json_strings_are_escaped(void **state)
{
    static const struct { const char *text, *expected; } rows[] = {
        { "plain", "\"plain\"" }, { "a\"b\\c", "\"a\\\"b\\\\c\"" }, { "\n\x01\x7f", "\"\\u000a\\u0001\\u007f\"" },
        { "caf\xc3\xa9", "\"caf\xc3\xa9\"" }, { "\xff\xfe", "\"??\"" }, { "", "\"\"" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_buf struct buf out = { 0 };
        append_json_string(&out, str_from(rows[i].text));
        buf_append_char(&out, '\0');
        assert_string_equal(out.data, rows[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_reach_the_guest_as_the_rules_say),
        cmocka_unit_test(json_strings_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
