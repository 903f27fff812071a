/* str, buf, map, error, clock, secret, random: pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/map.h"
#include "base/random.h"
#include "base/secret.h"

static void utf8_is_checked_strictly(void **state)
{
    static const struct { const char *name; struct str text; bool good; } rows[] = {
        { "ascii", STR_LITERAL("abc"), true },
        { "two bytes", STR_LITERAL("\xc3\xa9"), true },
        { "emoji", STR_LITERAL("\xf0\x9f\x98\x80"), true },
        { "overlong slash", STR_LITERAL("\xc0\xaf"), false },
        { "overlong three", STR_LITERAL("\xe0\x80\xaf"), false },
        { "surrogate", STR_LITERAL("\xed\xa0\x80"), false },
        { "above U+10FFFF", STR_LITERAL("\xf4\x90\x80\x80"), false },
        { "cut short", STR_LITERAL("a\xc3"), false },
        { "lone continuation", STR_LITERAL("\x80"), false },
        { "ff", STR_LITERAL("\xff"), false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (str_is_utf8(rows[i].text) != rows[i].good)
            fail_msg("%s", rows[i].name);
}

static void percent_decoding_refuses_broken_escapes(void **state)
{
    static const struct { const char *in, *out; bool plus; } rows[] = {
        { "a%20b", "a b", false }, { "a+b", "a+b", false }, { "a+b", "a b", true }, { "%C3%A9", "\xc3\xa9", false },
        { "%", NULL, false }, { "%4", NULL, false }, { "%zz", NULL, false }, { "x%2", NULL, false }, { "", "", false },
        { "%41", "A", false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[64];
        size_t len = 0;
        bool good = str_percent_decode(str_from(rows[i].in), rows[i].plus, out, &len);
        if (good != (rows[i].out != NULL) || (good && !str_equal_text(str_of(out, len), rows[i].out)))
            fail_msg("%s", rows[i].in);
    }
}

static void numbers_do_not_overflow(void **state)
{
    uint64_t u;
    int64_t i;
    assert_true(str_to_u64(STR_LITERAL("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(str_to_u64(STR_LITERAL("18446744073709551616"), &u));
    assert_false(str_to_u64(STR_LITERAL(""), &u));
    assert_false(str_to_u64(STR_LITERAL("1 "), &u));
    assert_true(str_to_i64(STR_LITERAL("-5"), &i) && i == -5);
    assert_false(str_to_i64(STR_LITERAL("-"), &i));
    assert_false(str_to_i64(STR_LITERAL("9223372036854775808"), &i));
}

static void parts_of_a_list(void **state)
{
    struct str rest = STR_LITERAL("a,,b"), part;
    assert_true(str_next_part(&rest, ',', &part) && str_equal_text(part, "a"));
    assert_true(str_next_part(&rest, ',', &part) && part.len == 0);
    assert_true(str_next_part(&rest, ',', &part) && str_equal_text(part, "b"));
    assert_false(str_next_part(&rest, ',', &part));
}

static void a_buffer_keeps_its_limit(void **state)
{
    struct buf buf = { .limit = 5 };
    assert_true(buf_append_text(&buf, "12345"));
    assert_false(buf_append_char(&buf, '6'));
    assert_true(buf.failed && buf.len == 5);
    buf_free(&buf);
}

static void a_map_keeps_finds_and_forgets(void **state)
{
    struct map map = { 0 };
    static int values[1000];
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_null(map_put(&map, str_from(key), &values[i]));
    }
    size_t position = 0, seen = 0;
    struct str name;
    void *value;
    while (map_next(&map, &position, &name, &value)) {
        seen++;
        if ((int *)value - values < 500) {
            assert_ptr_equal(map_remove(&map, name), value);
        }
    }
    assert_int_equal(seen, 1000);
    assert_int_equal(map.count, 500);
    assert_null(map_get(&map, STR_LITERAL("k10")));
    assert_ptr_equal(map_get(&map, STR_LITERAL("k900")), &values[900]);
    map_free(&map, NULL);
}

static void an_error_is_cut_at_a_character(void **state)
{
    struct error err;
    char text[900];
    memset(text, 'x', sizeof text);
    memcpy(text + 766, "\xc3\xa9", 2);      /* the second byte would be the last that does not fit */
    text[899] = '\0';
    error_set(&err, ERR_INVALID, "%s", text);
    assert_true(str_is_utf8(str_from(err.text)));
    error_wrap(&err, "creating %s", "it");
    assert_true(str_starts_with(str_from(err.text), STR_LITERAL("creating it: xxx")));
    assert_true(str_is_utf8(str_from(err.text)));
}

static void times_are_written_and_read(void **state)
{
    static const struct { const char *text; int64_t us; bool good; } rows[] = {
        { "1970-01-01T00:00:00.000000Z", 0, true },
        { "2026-11-24T06:00:00Z", 1795500000000000, true },
        { "2026-11-24 06:00:00.5", 1795500000500000, true },
        { "2026-11-24T08:00:00+02:00", 1795500000000000, true },
        { "2026-11-24", 1795478400000000, true },
        { "2026-02-30T00:00:00Z", 0, false }, { "2026-11-24T25:00:00Z", 0, false }, { "x", 0, false }, { "2026-11-24T06:00:00Zx", 0, false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t us = -1;
        bool good = clock_parse_iso(rows[i].text, &us);
        if (good != rows[i].good || (good && us != rows[i].us))
            fail_msg("%s gives %lld", rows[i].text, (long long)us);
    }
    char text[28];
    clock_format_iso(1795500000123456, text);
    assert_string_equal(text, "2026-11-24T06:00:00.123456Z");
}

static void random_texts_have_their_form(void **state)
{
    char uuid[37];
    random_uuid4(uuid);
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(uuid[14], '4');
    cleanup_free char *token = random_token(24);
    assert_int_equal(strlen(token), 32);
    cleanup_free char *letters = random_alphanumeric(48);
    assert_int_equal(strlen(letters), 48);
}

static void secrets_compare_whole(void **state)
{
    assert_true(secret_equal(STR_LITERAL("abc"), STR_LITERAL("abc")));
    assert_false(secret_equal(STR_LITERAL("abc"), STR_LITERAL("abd")));
    assert_false(secret_equal(STR_LITERAL("abc"), STR_LITERAL("ab")));
    char hex[65];
    sha256_hex(STR_LITERAL("abc"), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void base64_is_decoded_strictly(void **state)
{
    static const struct { const char *text; size_t len; const char *bytes; } rows[] = {
        { "", 0, "" }, { "YWJj", 3, "abc" }, { "YWI=", 2, "ab" }, { "YQ==", 1, "a" }, { "YQBi", 3, "a\0b" },
        { "YWJ", 0, NULL }, { "YW!j", 0, NULL }, { "YWJjYQ", 0, NULL }, { "Y===", 0, NULL }, { "====", 0, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t len = 0;
        cleanup_secret char *bytes = base64_decode(rows[i].text, &len);
        if ((bytes != NULL) != (rows[i].bytes != NULL) || (bytes && (len != rows[i].len || memcmp(bytes, rows[i].bytes, len + 1) != 0)))
            fail_msg("'%s'", rows[i].text);
    }
}

static void json_is_strict_and_merges(void **state)
{
    struct error err;
    assert_null(json_read(STR_LITERAL("{\"a\":1,\"a\":2}"), &err));
    assert_null(json_read(STR_LITERAL("{} x"), &err));
    cleanup_json json_t *target = json_read(STR_LITERAL("{\"a\":{\"b\":1,\"c\":2},\"d\":3}"), &err);
    cleanup_json json_t *patch = json_read(STR_LITERAL("{\"a\":{\"b\":null},\"e\":[1]}"), &err);
    cleanup_json json_t *merged = json_merge_patch(target, patch);
    cleanup_free char *text = json_write(merged);
    assert_string_equal(text, "{\"a\":{\"c\":2},\"d\":3,\"e\":[1]}");
}

static char *nested(unsigned depth, const char *before, const char *after)
{
    struct buf text = { 0 };

    buf_append_text(&text, before);
    for (unsigned i = 0; i < depth; i++)
        buf_append_text(&text, i % 2 ? "{\"a\":" : "[");
    buf_append_text(&text, "1.5");
    for (unsigned i = depth; i-- > 0;)
        buf_append_char(&text, i % 2 ? '}' : ']');
    buf_append_text(&text, after);
    return buf_take(&text);
}

/* Everything that is done with values, where their depth costs stack. */
static void *use_deepest(void *text)
{
    struct error err;
    cleanup_json json_t *value = json_read(str_from(text), &err), *copy = json_deep_copy(value);
    cleanup_free char *written = json_write(copy), *sorted = json_dumps(copy, JSON_SORT_KEYS);

    return value && sorted && written && strcmp(written, text) == 0 ? text : NULL;
}

static void json_nests_as_deep_as_a_threads_stack_bears(void **state)
{
    cleanup_free char *deepest = nested(JSON_DEPTH_MAX, "", ""), *deeper = nested(JSON_DEPTH_MAX + 1, "", "");
    cleanup_free char *broken = nested(100000, "", "x"), *in_text = nested(300, "[\"\\\"", "\"]");
    void *used = NULL;
    struct error err;

    pthread_join(thread_start("deep", use_deepest, deepest), &used);
    assert_ptr_equal(used, deepest);
    assert_null(json_read(str_from(deeper), &err));
    assert_non_null(strstr(err.text, "deeper"));
    assert_null(json_read_lenient(str_from(deeper), &err));
    assert_null(json_read(str_from(broken), &err));
    assert_true(json_is_too_deep(str_from(broken)));
    assert_false(json_is_too_deep(str_from(in_text)));
    assert_false(json_is_too_deep(STR_LITERAL("]]]{[\"\\")));
}

static void json_of_others_is_read_leniently(void **state)
{
    static const struct { const char *text, *written; } rows[] = {
        { "{\"a\":1,\"a\":2}", "{\"a\":2}" },
        { "{\"a\":\"x\\u0000y\"}", "{\"a\":\"x\\u0000y\"}" },
        { "{\"a\":123456789012345678901234567890}", "{\"a\":1.2345678901234568e29}" },
        { "{\"a\":5}", "{\"a\":5}" },
        { "{\"a\":NaN}", NULL },
        { "{\"a\":\"\\ud83d\"}", NULL },
        { "{} x", NULL },
    };
    struct error err;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *value = json_read_lenient(str_from(rows[i].text), &err);
        cleanup_free char *written = value ? json_write(value) : NULL;
        if (rows[i].written ? !written || strcmp(written, rows[i].written) != 0 : written != NULL)
            fail_msg("%s: %s", rows[i].text, written ? written : err.text);
    }
}

static void json_writes_reals_as_short_as_they_were(void **state)
{
    const char *text = "{\"a\":[0.1,-2.5e-7,1e300,0.30000000000000004,1.0,7],\"b\":\"\\n\"}";
    struct error err;
    cleanup_json json_t *value = json_read(str_from(text), &err);
    cleanup_free char *written = json_write(value);
    assert_string_equal(written, text);
    assert_null(json_write(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(percent_decoding_refuses_broken_escapes),
        cmocka_unit_test(numbers_do_not_overflow),
        cmocka_unit_test(parts_of_a_list),
        cmocka_unit_test(a_buffer_keeps_its_limit),
        cmocka_unit_test(a_map_keeps_finds_and_forgets),
        cmocka_unit_test(an_error_is_cut_at_a_character),
        cmocka_unit_test(times_are_written_and_read),
        cmocka_unit_test(random_texts_have_their_form),
        cmocka_unit_test(secrets_compare_whole),
        cmocka_unit_test(base64_is_decoded_strictly),
        cmocka_unit_test(json_is_strict_and_merges),
        cmocka_unit_test(json_writes_reals_as_short_as_they_were),
        cmocka_unit_test(json_nests_as_deep_as_a_threads_stack_bears),
        cmocka_unit_test(json_of_others_is_read_leniently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
