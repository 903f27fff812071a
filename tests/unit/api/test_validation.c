/* The checks of single members: what is taken leniently, and the type and words of each refusal. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "api/cursor.h"
#include "api/document_clean.h"
#include "api/validation.h"
#include "base/json.h"

static const struct location member = { "body", "member" };

static const struct bool_row {
    const char *json;
    int value;                  /* -1: refused */
    const char *type;
} bool_rows[] = {
    { "true", 1, NULL }, { "false", 0, NULL }, { "1", 1, NULL }, { "0", 0, NULL }, { "1.0", 1, NULL },
    { "\"yes\"", 1, NULL }, { "\"Y\"", 1, NULL }, { "\"on\"", 1, NULL }, { "\"t\"", 1, NULL }, { "\"TRUE\"", 1, NULL },
    { "\"off\"", 0, NULL }, { "\"n\"", 0, NULL }, { "\"0\"", 0, NULL },
    { "2", -1, "bool_parsing" }, { "\"x\"", -1, "bool_parsing" }, { "\"\"", -1, "bool_parsing" }, { "\" true\"", -1, "bool_parsing" },
    { "null", -1, "bool_type" }, { "1.5", -1, "bool_type" }, { "[]", -1, "bool_type" }, { "{}", -1, "bool_type" },
};

static const char *first_type(const json_t *problems)
{
    const char *type = json_text(json_array_get(problems, 0), "type");
    return type ? type : "";
}

static void booleans_are_read_leniently(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bool_rows); i++) {
        const struct bool_row *row = &bool_rows[i];
        cleanup_json json_t *value = json_loads(row->json, JSON_DECODE_ANY, NULL), *problems = json_array();
        bool flag = false;
        bool taken = check_bool(problems, member, value, &flag);
        if (taken != (row->value >= 0) || (taken && flag != (row->value == 1)) || strcmp(first_type(problems), row->type ? row->type : "") != 0)
            fail_msg("%s: %d %d %s", row->json, taken, flag, first_type(problems));
    }
}

static const struct number_row {
    const char *text;
    int64_t value;
    const char *problem;        /* NULL: taken */
} number_rows[] = {
    { "1", 1, NULL }, { "1000", 1000, NULL }, { " 5 ", 5, NULL }, { "+5", 5, NULL }, { "5.0", 5, NULL },
    { "x", 0, "{\"type\":\"int_parsing\",\"loc\":[\"query\",\"limit\"],\"msg\":\"Input should be a valid integer, unable to parse string "
              "as an integer\",\"input\":\"x\"}" },
    { "0", 0, "{\"type\":\"greater_than_equal\",\"loc\":[\"query\",\"limit\"],\"msg\":\"Input should be greater than or equal to 1\","
              "\"input\":\"0\",\"ctx\":{\"ge\":1}}" },
    { "2000", 0, "{\"type\":\"less_than_equal\",\"loc\":[\"query\",\"limit\"],\"msg\":\"Input should be less than or equal to 1000\","
                 "\"input\":\"2000\",\"ctx\":{\"le\":1000}}" },
};

static void numbers_of_a_query_have_bounds(void **state)
{
    for (size_t i = 0; i < COUNT_OF(number_rows); i++) {
        const struct number_row *row = &number_rows[i];
        cleanup_json json_t *problems = json_array();
        int64_t value = 0;
        bool taken = check_number(problems, (struct location){ "query", "limit" }, str_from(row->text), 1, 1000, &value);
        cleanup_free char *problem = taken ? NULL : json_write(json_array_get(problems, 0));
        if (taken != (row->problem == NULL) || (taken ? value != row->value : strcmp(problem, row->problem) != 0))
            fail_msg("%s: %s", row->text, problem ? problem : "taken");
    }
}

static const struct id_row {
    const char *name, *id, *type;
} id_rows[] = {
    { "plain", "gpu-large", "" }, { "blanks and letters of any script", "gro\xc3\x9f und klein", "" },
    { "empty", "", "string_too_short" }, { "a slash", "a/b", "value_error" }, { "a control character", "a\x01", "value_error" },
    { "not UTF-8", "a\xff", "value_error" },
    { "129 characters", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "string_too_long" },
};

static void policy_ids_are_checked(void **state)
{
    for (size_t i = 0; i < COUNT_OF(id_rows); i++) {
        cleanup_json json_t *problems = json_array();
        check_policy_id(problems, member, str_from(id_rows[i].id));
        if (strcmp(first_type(problems), id_rows[i].type) != 0)
            fail_msg("%s: %s", id_rows[i].name, first_type(problems));
    }
}

static void a_cursor_names_its_place(void **state)
{
    struct terminal_key *key = terminal_key_new(str_from("al:ice@x \xc3\xa9"), str_from("p"), str_from("chat:1"));
    struct terminal_key *later = terminal_key_new(str_from("al:ice@x \xc3\xa9"), str_from("p"), str_from("chat:2"));
    cleanup_free char *cursor = cursor_after(key);
    struct terminal_key *read = cursor_read(str_from(cursor));

    assert_non_null(read);
    assert_true(terminal_key_equal(read, key));
    assert_false(key_is_after(key, read));
    assert_true(key_is_after(later, read));
    assert_int_equal(strspn(cursor, "0123456789abcdef"), strlen(cursor));
    terminal_key_free(key);
    terminal_key_free(later);
    terminal_key_free(read);
}

static void other_texts_are_no_cursors(void **state)
{
    static const char *const texts[] = { "x", "6", "61", "6100", "61006200630064", "zz" };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (cursor_read(str_from(texts[i])))
            fail_msg("%s", texts[i]);
}

static void a_spec_loses_its_security_and_nothing_else(void **state)
{
    cleanup_json json_t *spec = json_loads(
        "{\"openapi\":\"3.1.0\",\"security\":[{\"b\":[]}],\"paths\":{\"/x\":{\"parameters\":[],\"get\":{\"operationId\":\"x\","
        "\"security\":[],\"parameters\":[{\"name\":\"security\"}]},\"post\":{\"security\":[{\"b\":[]}]}},\"/y\":null},"
        "\"components\":{\"schemas\":{\"A\":{\"properties\":{\"security\":{}}}},\"securitySchemes\":{\"b\":{}}},\"tags\":[]}", 0, NULL);
    openapi_clean(spec);
    cleanup_free char *text = json_write(spec);
    assert_string_equal(text,
        "{\"openapi\":\"3.1.0\",\"paths\":{\"/x\":{\"parameters\":[],\"get\":{\"operationId\":\"x\",\"parameters\":[{\"name\":"
        "\"security\"}]},\"post\":{}},\"/y\":null},\"components\":{\"schemas\":{\"A\":{\"properties\":{\"security\":{}}}}},\"tags\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans_are_read_leniently),
        cmocka_unit_test(numbers_of_a_query_have_bounds),
        cmocka_unit_test(policy_ids_are_checked),
        cmocka_unit_test(a_cursor_names_its_place),
        cmocka_unit_test(other_texts_are_no_cursors),
        cmocka_unit_test(a_spec_loses_its_security_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
