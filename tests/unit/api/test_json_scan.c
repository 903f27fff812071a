/* What is said about a text that is not JSON: message and position as Python's decoder gives them (the table, and a few hundred
 * damaged texts in tests/data/json-faults.jsonl with what it said about each). */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "api/json_scan.h"
#include "base/json.h"

static const struct row {
    const char *name, *text, *message;
    size_t position;
} rows[] = {
    { "nothing", "", "Expecting value", 0 },
    { "only blanks", " \t\r\n", "Expecting value", 4 },
    { "a bare name", "{nope", "Expecting property name enclosed in double quotes", 1 },
    { "single quotes", "{'a':1}", "Expecting property name enclosed in double quotes", 1 },
    { "a comma before the brace", "{\"a\":1,}", "Expecting property name enclosed in double quotes", 7 },
    { "a comma before the bracket", "[1,]", "Expecting value", 3 },
    { "no colon", "{\"a\" 1}", "Expecting ':' delimiter", 5 },
    { "no value", "{\"a\":}", "Expecting value", 5 },
    { "no comma", "{\"a\":1 \"b\"}", "Expecting ',' delimiter", 7 },
    { "no comma in an array", "[1 2]", "Expecting ',' delimiter", 3 },
    { "an open object", "{", "Expecting property name enclosed in double quotes", 1 },
    { "an object cut after a value", "{\"a\":1", "Expecting ',' delimiter", 6 },
    { "an open array", "[", "Expecting value", 1 },
    { "something after the value", "{} x", "Extra data", 3 },
    { "two values", "1 2", "Extra data", 2 },
    { "a leading zero", "01", "Extra data", 1 },
    { "a point without digits", "1.", "Extra data", 1 },
    { "an exponent without digits", "1e+", "Extra data", 1 },
    { "a lone minus", "-", "Expecting value", 0 },
    { "a cut word", "tru", "Expecting value", 0 },
    { "an open string", "\"abc", "Unterminated string starting at", 0 },
    { "a string that ends in a backslash", "[\"abc\\", "Unterminated string starting at", 1 },
    { "a raw newline", "\"a\nb\"", "Invalid control character at", 2 },
    { "an unknown escape", "\"\\x\"", "Invalid \\escape", 1 },
    { "too few hex digits", "\"\\u12\"", "Invalid \\uXXXX escape", 2 },
    { "the second half cut", "\"\\ud800\\u12", "Invalid \\uXXXX escape", 8 },
    { "characters, not bytes", "{\"\xc3\xa9\xf0\x9f\x98\x80\":x}", "Expecting value", 6 },
    { "NaN", "[NaN]", "Expecting value", 1 },
    { "Infinity", "-Infinity", "Expecting value", 0 },
    { "a NUL escape", "\"\\u0000\"", "Invalid \\uXXXX escape", 2 },
    { "a lone low half", "\"\\udc00\"", "Invalid \\uXXXX escape", 2 },
    { "a lone high half", "\"\\ud800x\"", "Invalid \\uXXXX escape", 2 },
    { "an integer without bounds", "[99999999999999999999]", "Number out of range", 1 },
    { "a real without bounds", "1e999", "Number out of range", 0 },
    { "an object", " {\"a\":[1,-0.5e-3,null,true,\"\\ud83d\\ude00\\n\"],\"b\":{}} ", NULL, 0 },
    { "a scalar", "12", NULL, 0 },
};

static void finds_the_first_mistake(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct json_fault fault;
        bool found = json_scan(str_from(row->text), &fault);
        if (found != (row->message != NULL))
            fail_msg("%s: %s", row->name, found ? fault.message : "nothing found");
        if (!found)
            continue;
        if (strcmp(fault.message, row->message) != 0 || fault.position != row->position)
            fail_msg("%s: '%s' at %zu", row->name, fault.message, fault.position);
    }
}

static void agrees_on_damaged_texts(void **state)
{
    cleanup_file FILE *file = fopen(TEST_DATA "/json-faults.jsonl", "r");
    char *line = NULL;
    size_t size = 0, count = 0;

    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        cleanup_json json_t *row = json_loads(line, 0, NULL);
        const char *text = json_text(row, "text");
        const json_t *wanted = json_object_get(row, "fault");
        struct json_fault fault;
        bool found = json_scan(str_from(text), &fault);
        if (found != json_is_array(wanted))
            fail_msg("%s: %s", text, found ? fault.message : "nothing found");
        if (found && (strcmp(fault.message, json_string_value(json_array_get(wanted, 0))) != 0 ||
                      (json_int_t)fault.position != json_integer_value(json_array_get(wanted, 1))))
            fail_msg("%s: '%s' at %zu", text, fault.message, fault.position);
        count++;
    }
    free(line);
    assert_true(count > 300);
}

static void never_misses_what_jansson_refuses(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *value = json_loads(rows[i].text, JSON_DECODE_ANY, NULL);
        if ((value == NULL) != (rows[i].message != NULL))
            fail_msg("%s: jansson thinks otherwise", rows[i].name);
    }
}

static void gives_up_on_deep_nesting(void **state)
{
    static char text[5000];
    struct json_fault fault;

    memset(text, '[', sizeof text - 1);
    assert_true(json_scan(str_from(text), &fault));
    assert_true(fault.too_deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_first_mistake),
        cmocka_unit_test(agrees_on_damaged_texts),
        cmocka_unit_test(never_misses_what_jansson_refuses),
        cmocka_unit_test(gives_up_on_deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
