/* Queries: what counts as a parameter, how often it is there, and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/uri.h"

struct row {
    const char *query;
    size_t count;
    struct str value;
};

static void a_parameter_is_found_after_decoding(void **state)
{
    static const struct row rows[] = {
        { "", 0, STR_LITERAL("") },
        { "user_id=a", 1, STR_LITERAL("a") },
        { "x=1&user_id=a&y=2", 1, STR_LITERAL("a") },
        { "user_id=a&user_id=b", 2, STR_LITERAL("a") },
        { "user%5Fid=a&user_id=b", 2, STR_LITERAL("a") },
        { "%75ser_id=a", 1, STR_LITERAL("a") },
        { "user_id", 1, STR_LITERAL("") },
        { "user_id=", 1, STR_LITERAL("") },
        { "user_id==a=b", 1, STR_LITERAL("=a=b") },
        { "&&user_id=a&&", 1, STR_LITERAL("a") },
        { "user_id=a%40b.c+d%2B", 1, STR_LITERAL("a@b.c d+") },
        { "user_id=%00%ff", 1, STR_LITERAL("\0\xff") },
        { "user_id=a;b", 1, STR_LITERAL("a;b") },
        { "User_Id=a", 0, STR_LITERAL("") },
        { "xuser_id=a&user_idx=b", 0, STR_LITERAL("") },
        { "user_id%=a", 0, STR_LITERAL("") },
        { "=user_id", 0, STR_LITERAL("") },
        { "user_id=%", SIZE_MAX, STR_LITERAL("") },
        { "user_id=%4", SIZE_MAX, STR_LITERAL("") },
        { "user_id=%zz", SIZE_MAX, STR_LITERAL("") },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_buf struct buf value = { 0 };
        size_t count = query_find(str_from(rows[i].query), "user_id", &value);
        if (count != rows[i].count || !str_equal(buf_str(&value), rows[i].value))
            fail_msg("%s: %zu, '%.*s'", rows[i].query, count, STR_ARG(buf_str(&value)));
    }
}

static void pairs_come_in_order_and_encoded(void **state)
{
    struct str rest = STR_LITERAL("a=%41&&b&c="), name, value;

    assert_true(query_next(&rest, &name, &value));
    assert_true(str_equal_text(name, "a") && str_equal_text(value, "%41"));
    assert_true(query_next(&rest, &name, &value));
    assert_true(str_equal_text(name, "b") && value.len == 0);
    assert_true(query_next(&rest, &name, &value));
    assert_true(str_equal_text(name, "c") && value.len == 0);
    assert_false(query_next(&rest, &name, &value));
}

static void only_unreserved_characters_stay(void **state)
{
    cleanup_buf struct buf out = { 0 };

    uri_encode(&out, STR_LITERAL("aZ09-._~/?#[]@ %+\xc3\xa9\0"));
    assert_true(str_equal_text(buf_str(&out), "aZ09-._~%2F%3F%23%5B%5D%40%20%25%2B%C3%A9%00"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_is_found_after_decoding),
        cmocka_unit_test(pairs_come_in_order_and_encoded),
        cmocka_unit_test(only_unreserved_characters_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
