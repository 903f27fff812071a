/* Which bodies are taken, and the exact answer to those that are not. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "api/body.h"

#define PROBLEM(type, loc, msg, input) \
    "{\"detail\":[{\"type\":\"" type "\",\"loc\":[\"body\"" loc "],\"msg\":\"" msg "\",\"input\":" input "}]}"
#define NO_OBJECT(input) \
    PROBLEM("model_attributes_type", "", "Input should be a valid dictionary or object to extract fields from", input)
#define MISSING PROBLEM("missing", "", "Field required", "null")
#define NOT_READ "{\"detail\":\"There was an error parsing the body\"}"

static const struct row {
    const char *name, *content_type, *body;
    int status;                 /* 0: taken */
    const char *answer;         /* or the object as read */
} rows[] = {
    { "an object", "application/json", "{\"a\":1}", 0, "{\"a\":1}" },
    { "no content type is JSON", NULL, "{\"a\":1}", 0, "{\"a\":1}" },
    { "an empty content type is JSON", "", "{}", 0, "{}" },
    { "a parameter does not matter", "application/json; charset=utf-8", "{}", 0, "{}" },
    { "case does not matter", "Application/JSON", "{}", 0, "{}" },
    { "a +json type is JSON", "application/vnd.api+json", "{}", 0, "{}" },
    { "a byte order mark is skipped", "application/json", "\xef\xbb\xbf{}", 0, "{}" },
    { "the last of equal names counts", "application/json", "{\"a\":1,\"a\":2}", 0, "{\"a\":2}" },
    { "nothing", "application/json", "", 422, MISSING },
    { "nothing as text", "text/plain", "", 422, MISSING },
    { "null", "application/json", "null", 422, MISSING },
    { "an array", "application/json", "[1,null]", 422, NO_OBJECT("[1,null]") },
    { "a text", "application/json", "\"x\"", 422, NO_OBJECT("\"x\"") },
    { "a number", NULL, "3", 422, NO_OBJECT("3") },
    { "text/plain", "text/plain", "{}", 422, NO_OBJECT("\"{}\"") },
    { "text/json is no JSON type", "text/json", "{}", 422, NO_OBJECT("\"{}\"") },
    { "a form", "application/x-www-form-urlencoded", "a=1", 422, NO_OBJECT("\"a=1\"") },
    { "a word for a content type", "nonsense", "null", 422, NO_OBJECT("\"null\"") },
    { "a text that is not UTF-8", "text/plain", "a\xff", 422, NO_OBJECT("\"a\xef\xbf\xbd\"") },
    { "JSON that is not UTF-8", "application/json", "{\"a\":\"\xff\"}", 400, NOT_READ },
    { "a bare name", "application/json", "{nope", 422,
      "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",1],\"msg\":\"JSON decode error\",\"input\":{},"
      "\"ctx\":{\"error\":\"Expecting property name enclosed in double quotes\"}}]}" },
};

static void takes_objects_and_explains_the_rest(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct api_request request = {
            .content_type = str_from(row->content_type), .has_content_type = row->content_type != NULL, .body = str_from(row->body),
        };
        struct api_response response = { 0 };
        cleanup_json json_t *object = body_read_object(&request, &response);
        cleanup_free char *text = object ? json_write(object) : NULL;
        cleanup_free char *answer = buf_take(&response.body);

        if (response.status != row->status || strcmp(text ? text : answer, row->answer) != 0)
            fail_msg("%s: %d %s", row->name, response.status, text ? text : answer);
    }
}

static void refuses_deep_nesting_without_reading_it(void **state)
{
    cleanup_free char *deep = xmalloc(100000);
    struct api_request request = { .body = { deep, 100000 } };
    struct api_response response = { 0 };

    memset(deep, '[', 100000);
    assert_null(body_read_object(&request, &response));
    assert_int_equal(response.status, 400);
    api_response_clear(&response);
}

/* One more level is refused whether it is empty or not, whole or not. */
static void refuses_the_first_level_that_is_too_deep(void **state)
{
    for (unsigned depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
        cleanup_free char *text = xcalloc(1, 2 * depth + 6);
        struct api_response response = { 0 };

        memcpy(text, "{\"a\":", 5);
        memset(text + 5, '[', depth);
        memset(text + 5 + depth, ']', depth);
        text[5 + 2 * depth] = '}';
        struct api_request request = { .body = { text, 2 * depth + 6 } };
        cleanup_json json_t *object = body_read_object(&request, &response);
        assert_int_equal(object != NULL, depth < JSON_DEPTH_MAX);
        assert_int_equal(response.status, object ? 0 : 400);
        api_response_clear(&response);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_objects_and_explains_the_rest),
        cmocka_unit_test(refuses_deep_nesting_without_reading_it),
        cmocka_unit_test(refuses_the_first_level_that_is_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
