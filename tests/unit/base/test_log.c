/* What may stand in a log line: callers write into it through paths and ids, and must not hide, forge or lose a line. Each row is
 * logged in both formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#define FILE_NAME "/tmp/terminals-log-XXXXXX"

/* What `write_lines` puts on standard error; the caller frees. */
static char *logged(void (*write_lines)(struct str), struct str value, bool json)
{
    char path[] = FILE_NAME, *text = NULL;
    struct error err = { 0 };
    size_t len;
    cleanup_fd int file = mkstemp(path), standard_error = dup(STDERR_FILENO);
    assert_true(file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    log_configure(LOG_INFO, json);
    write_lines(value);
    assert_true(dup2(standard_error, STDERR_FILENO) >= 0);
    assert_int_equal(file_read(path, 1024 * 1024, &text, &len, &err), 0);
    unlink(path);
    return text;
}

static void log_one(struct str value)
{
    log_info("hello", LOG_SLICE("value", value), LOG_INT("last", 7));
}

static void log_many(struct str value)
{
    log_info("hello", LOG_SLICE("a", value), LOG_SLICE("b", value), LOG_SLICE("c", value), LOG_SLICE("d", value), LOG_SLICE("e", value),
             LOG_SLICE("f", value), LOG_SLICE("g", value), LOG_SLICE("h", value), LOG_SLICE("i", value), LOG_INT("last", 7));
}

static const struct escape {
    const char *rule;
    struct str value;
    const char *shown;          /* in quotes, in both formats */
} escapes[] = {
    { "quotes and backslashes", STR_LITERAL("a\"\\ b"), "\"a\\\"\\\\ b\"" },
    { "line breaks", STR_LITERAL("a\nb\r"), "\"a\\nb\\u000d\"" },
    { "NUL and DEL", STR_LITERAL("a\0b\x7f"), "\"a\\u0000b\\u007f\"" },
    { "terminal escapes", STR_LITERAL("\x1b[2J"), "\"\\u001b[2J\"" },
    { "C1 controls", STR_LITERAL("\xc2\x80 \xc2\x9b" "2J \xc2\x9f"), "\"\\u0080 \\u009b2J \\u009f\"" },
    { "what comes after them stands", STR_LITERAL("\xc2\xa0"), "\"\xc2\xa0\"" },
    { "marks of direction", STR_LITERAL("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c"), "\"\\u200e\\u200f\\u061c\"" },
    { "embeddings and overrides", STR_LITERAL("\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae"),
      "\"\\u202a\\u202b\\u202c\\u202d\\u202e\"" },
    { "isolates", STR_LITERAL("\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9"), "\"\\u2066\\u2067\\u2068\\u2069\"" },
    { "line and paragraph separators", STR_LITERAL("\xe2\x80\xa8\xe2\x80\xa9"), "\"\\u2028\\u2029\"" },
    { "other scripts stand", STR_LITERAL("gr\xc3\xbc\xc3\x9f dich \xd7\x90 \xf0\x9f\x98\x80"), "\"gr\xc3\xbc\xc3\x9f dich \xd7\x90 \xf0\x9f\x98\x80\"" },
    { "bytes that are no UTF-8", STR_LITERAL("\xff \xc3 \x9b \xed\xa0\x80 \xc3\xa9"), "\"? ? ? ??? \xc3\xa9\"" },
    { "cut short", STR_LITERAL("x \xf0\x9f\x98"), "\"x ???\"" },
    { "empty", STR_LITERAL(""), "\"\"" },
};

static void what_would_mislead_a_reader_is_escaped(void **state)
{
    for (size_t i = 0; i < COUNT_OF(escapes); i++) {
        cleanup_free char *as_text = logged(log_one, escapes[i].value, false), *as_json = logged(log_one, escapes[i].value, true);
        cleanup_free char *in_text = xasprintf(" INFO    hello value=%s last=7\n", escapes[i].shown);
        cleanup_free char *in_json = xasprintf("\"message\":\"hello\",\"value\":%s,\"last\":7}\n", escapes[i].shown);
        cleanup_json json_t *read = json_loads(as_json, JSON_ALLOW_NUL, NULL);
        if (!strstr(as_text, in_text) || !strstr(as_json, in_json) || !read)
            fail_msg("%s: %s%s", escapes[i].rule, as_text, as_json);
    }
}

static void plain_values_need_no_quotes(void **state)
{
    cleanup_free char *text = logged(log_one, STR_LITERAL("/p/a?b"), false);
    assert_non_null(strstr(text, " hello value=/p/a?b last=7\n"));
}

/* Each value is far longer than what is kept of it: `unit` over and over. */
static const struct cut {
    const char *rule;
    struct str unit, end;       /* `end`: with what it ends in the line */
    size_t kept;                /* bytes of it in the line */
} cuts[] = {
    { "plain", STR_LITERAL("a"), STR_LITERAL("aa…\""), 2048 },
    { "with quotes", STR_LITERAL(" "), STR_LITERAL("  …\""), 2048 },
    { "between characters", STR_LITERAL("\xe2\x82\xac"), STR_LITERAL("\xe2\x82\xac…\""), 2049 },
    { "between escapes", STR_LITERAL("\x01"), STR_LITERAL("\\u0001…\""), 2052 },
    { "bytes that are no UTF-8", STR_LITERAL("\xff"), STR_LITERAL("??…\""), 2048 },
};

static void a_long_value_is_cut_and_its_line_is_written(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cuts) * 4; i++) {
        const struct cut *row = &cuts[i / 4];
        bool json = i % 2, many = i / 2 % 2;
        cleanup_buf struct buf value = { 0 };
        while (value.len < 60000)
            buf_append_str(&value, row->unit);
        cleanup_free char *text = logged(many ? log_many : log_one, buf_str(&value), json);
        const char *begin = strstr(text, json ? (many ? "\"a\":\"" : "\"value\":\"") : (many ? "a=\"" : "value=\""));
        const char *end = strstr(text, "…\"");
        size_t name = json ? (many ? 5 : 9) : (many ? 3 : 7);
        if (!begin || !end || !str_is_utf8(str_from(text)) || (size_t)(end - begin) - name != row->kept ||
            memcmp(end + 4 - row->end.len, row->end.data, row->end.len) != 0 || !strstr(text, json ? ",\"last\":7}\n" : " last=7\n"))
            fail_msg("%s (%s, %s): %s", row->rule, json ? "json" : "text", many ? "many" : "one", text);
    }
}

static void the_longest_value_that_fits_is_whole(void **state)
{
    cleanup_buf struct buf value = { 0 };
    while (value.len < 2048)
        buf_append_char(&value, 'a');
    cleanup_free char *text = logged(log_one, buf_str(&value), false), *as_json = logged(log_one, buf_str(&value), true);
    assert_null(strstr(text, "…"));
    assert_null(strstr(as_json, "…"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_would_mislead_a_reader_is_escaped),
        cmocka_unit_test(plain_values_need_no_quotes),
        cmocka_unit_test(a_long_value_is_cut_and_its_line_is_written),
        cmocka_unit_test(the_longest_value_that_fits_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
