/* The chunked coding: what is a body, what is refused, and that it does not matter where the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/chunked.h"

struct row {
    const char *name;
    struct str coded;
    const char *body;           /* NULL: refused */
    size_t left;                /* bytes after the end */
};
#define ROW(name, coded, body, left) { name, STR_LITERAL(coded), body, left }

static const struct row rows[] = {
    ROW("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", 0),
    ROW("two chunks", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", 0),
    ROW("empty", "0\r\n\r\n", "", 0),
    ROW("several zeros end it too", "000\r\n\r\n", "", 0),
    ROW("hex in both cases", "0a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", 0),
    ROW("what follows is left", "1\r\na\r\n0\r\n\r\nGET /", "a", 5),
    ROW("line ends inside data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 0),
    ROW("extension", "1;a=b\r\nx\r\n0;c\r\n\r\n", "x", 0),
    ROW("extension after blanks", "1 \t;a=b\r\nx\r\n0 ;c\r\n\r\n", "x", 0),
    ROW("quoted extension", "1;a=\"b;c d\"\r\nx\r\n0\r\n\r\n", "x", 0),
    ROW("trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", 0),
    ROW("sixteen digits", "0000000000000001\r\nx\r\n0\r\n\r\n", "x", 0),
    ROW("seventeen digits", "00000000000000001\r\nx\r\n0\r\n\r\n", NULL, 0),
    ROW("size overflow", "10000000000000001\r\nx\r\n", NULL, 0),
    ROW("no size", "\r\nx\r\n", NULL, 0),
    ROW("extension without size", ";a\r\nx\r\n", NULL, 0),
    ROW("size with prefix", "0x1\r\nx\r\n", NULL, 0),
    ROW("signed size", "+1\r\nx\r\n", NULL, 0),
    ROW("negative size", "-1\r\nx\r\n", NULL, 0),
    ROW("blank before size", " 1\r\nx\r\n", NULL, 0),
    ROW("blank after size", "1 \r\nx\r\n", NULL, 0),
    ROW("not hex", "g\r\n", NULL, 0),
    ROW("bare lf after size", "1\nx\r\n", NULL, 0),
    ROW("bare lf after extension", "1;a\nx\r\n", NULL, 0),
    ROW("bare cr after size", "1\rx\r\n", NULL, 0),
    ROW("bare cr in extension", "1;a\rb\r\nx\r\n", NULL, 0),
    ROW("nul in extension", "1;a\0b\r\nx\r\n", NULL, 0),
    ROW("data too long", "1\r\nxy\r\n0\r\n\r\n", NULL, 0),
    ROW("bare lf after data", "1\r\nx\n0\r\n\r\n", NULL, 0),
    ROW("cr and no lf after data", "1\r\nx\r0\r\n\r\n", NULL, 0),
    ROW("bare lf ends trailers", "0\r\n\n", NULL, 0),
    ROW("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", NULL, 0),
    ROW("trailer without colon", "0\r\nA\r\n\r\n", NULL, 0),
    ROW("trailer without name", "0\r\n: a\r\n\r\n", NULL, 0),
    ROW("blank in trailer's name", "0\r\nA : b\r\n\r\n", NULL, 0),
    ROW("control in trailer", "0\r\nA: \x01\r\n\r\n", NULL, 0),
    ROW("bare lf in trailer", "0\r\nA: b\n\r\n", NULL, 0),
};

/* Feeds `coded` in pieces of at most `piece` bytes. */
static enum chunked_result decode(struct str coded, size_t piece, struct buf *body, size_t *left)
{
    struct chunked_decoder decoder;
    enum chunked_result result = CHUNKED_MORE;

    chunked_init(&decoder);
    while (result == CHUNKED_MORE && coded.len > 0) {
        struct str input = str_of(coded.data, coded.len < piece ? coded.len : piece), span;
        size_t given = input.len;
        while ((result = chunked_next(&decoder, &input, &span)) == CHUNKED_DATA)
            buf_append_str(body, span);
        coded = str_skip(coded, given - input.len);
    }
    *left = coded.len;
    return result;
}

static void a_body_is_the_same_however_it_is_cut(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t piece = 1; piece <= rows[i].coded.len; piece++) {
            cleanup_buf struct buf body = { 0 };
            size_t left = 0;
            enum chunked_result result = decode(rows[i].coded, piece, &body, &left);
            if (!rows[i].body && result != CHUNKED_BAD)
                fail_msg("%s, cut at %zu: %d", rows[i].name, piece, (int)result);
            if (rows[i].body && (result != CHUNKED_END || left != rows[i].left || !str_equal_text(buf_str(&body), rows[i].body)))
                fail_msg("%s, cut at %zu: %d, '%.*s', %zu left", rows[i].name, piece, (int)result, STR_ARG(buf_str(&body)), left);
        }
    }
}

static void an_end_and_a_fault_stay(void **state)
{
    struct chunked_decoder decoder;
    struct str span, more = STR_LITERAL("1\r\nx\r\n"), end = STR_LITERAL("0\r\n\r\n"), bad = STR_LITERAL("z");

    chunked_init(&decoder);
    assert_int_equal(chunked_next(&decoder, &end, &span), CHUNKED_END);
    assert_int_equal(chunked_next(&decoder, &more, &span), CHUNKED_END);
    assert_int_equal(more.len, 6);
    chunked_init(&decoder);
    assert_int_equal(chunked_next(&decoder, &bad, &span), CHUNKED_BAD);
    assert_int_equal(chunked_next(&decoder, &more, &span), CHUNKED_BAD);
}

static void the_largest_size_does_not_overflow(void **state)
{
    struct chunked_decoder decoder;
    struct str input = STR_LITERAL("ffffffffffffffff\r\nabc"), span;

    chunked_init(&decoder);
    assert_int_equal(chunked_next(&decoder, &input, &span), CHUNKED_DATA);
    assert_int_equal(span.len, 3);
    assert_true(decoder.remaining == UINT64_MAX - 3);
}

static enum chunked_result decode_padded(const char *before, char pad, size_t count, const char *after)
{
    cleanup_buf struct buf coded = { 0 }, body = { 0 };
    size_t left;

    buf_append_text(&coded, before);
    for (size_t i = 0; i < count; i++)
        buf_append_char(&coded, pad);
    buf_append_text(&coded, after);
    return decode(buf_str(&coded), SIZE_MAX, &body, &left);
}

static void extensions_and_trailers_are_bounded(void **state)
{
    assert_int_equal(decode_padded("1;", 'a', 8192, "\r\nx\r\n0\r\n\r\n"), CHUNKED_END);
    assert_int_equal(decode_padded("1;", 'a', 8193, "\r\nx\r\n0\r\n\r\n"), CHUNKED_BAD);
    assert_int_equal(decode_padded("0\r\n", 'a', 8000, ": b\r\n\r\n"), CHUNKED_END);
    assert_int_equal(decode_padded("0\r\n", 'a', 9000, ": b\r\n\r\n"), CHUNKED_BAD);
    assert_int_equal(decode_padded("0\r\nA:", 'b', 9000, "\r\n\r\n"), CHUNKED_BAD);
}

/* Small chunks with large extensions are refused in the end, large chunks with small ones never. */
static void data_pays_for_extensions(void **state)
{
    cleanup_buf struct buf stingy = { 0 }, fair = { 0 }, body = { 0 };
    size_t left;

    for (int i = 0; i < 200; i++) {
        buf_append_text(&stingy, "1;an-extension-that-is-rather-long-for-a-chunk-of-one-byte\r\nx\r\n");
        buf_append_text(&fair, "a;extension\r\n0123456789\r\n");
    }
    assert_int_equal(decode(buf_str(&stingy), SIZE_MAX, &body, &left), CHUNKED_BAD);
    assert_int_equal(decode(buf_str(&fair), SIZE_MAX, &body, &left), CHUNKED_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_the_same_however_it_is_cut),
        cmocka_unit_test(an_end_and_a_fault_stay),
        cmocka_unit_test(the_largest_size_does_not_overflow),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
        cmocka_unit_test(data_pays_for_extensions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
