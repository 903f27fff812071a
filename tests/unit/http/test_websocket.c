/* WebSocket frames: RFC 6455 §5 and §7.4 a row at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/websocket.h"

struct header_row {
    const char *name;
    struct str bytes;
    bool from_client;
    enum ws_result result;
    enum ws_opcode opcode;
    uint64_t length;
    size_t header_length;
};
#define HEADER(name, bytes, client, opcode, length, header) { name, STR_LITERAL(bytes), client, WS_FRAME, opcode, length, header }
#define REFUSED(name, bytes, client) { name, STR_LITERAL(bytes), client, WS_BAD, WS_TEXT, 0, 0 }
#define PARTIAL(name, bytes, client) { name, STR_LITERAL(bytes), client, WS_INCOMPLETE, WS_TEXT, 0, 0 }

static const struct header_row header_rows[] = {
    HEADER("text", "\x81\x05", false, WS_TEXT, 5, 2),
    HEADER("binary", "\x82\x00", false, WS_BINARY, 0, 2),
    HEADER("fragment", "\x02\x01", false, WS_BINARY, 1, 2),
    HEADER("masked", "\x81\x85\x01\x02\x03\x04", true, WS_TEXT, 5, 6),
    HEADER("125 bytes", "\x82\x7d", false, WS_BINARY, 125, 2),
    HEADER("126 bytes", "\x82\x7e\x00\x7e", false, WS_BINARY, 126, 4),
    HEADER("65535 bytes", "\x82\x7e\xff\xff", false, WS_BINARY, 65535, 4),
    HEADER("65536 bytes", "\x82\x7f\0\0\0\0\0\x01\0\0", false, WS_BINARY, 65536, 10),
    HEADER("masked, longest header", "\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04", true, WS_BINARY, 65536, 14),
    HEADER("largest", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", false, WS_BINARY, INT64_MAX, 10),
    REFUSED("length above 2^63", "\x82\x7f\x80\0\0\0\0\0\0\0", false),
    REFUSED("125 in the second form", "\x82\x7e\x00\x7d", false),
    REFUSED("0 in the second form", "\x82\x7e\x00\x00", false),
    REFUSED("65535 in the third form", "\x82\x7f\0\0\0\0\0\0\xff\xff", false),
    REFUSED("rsv1", "\xc1\x00", false),
    REFUSED("rsv2", "\xa1\x00", false),
    REFUSED("rsv3", "\x91\x00", false),
    REFUSED("opcode 3", "\x83\x00", false),
    REFUSED("opcode 7", "\x87\x00", false),
    REFUSED("opcode 11", "\x8b\x00", false),
    REFUSED("opcode 15", "\x8f\x00", false),
    REFUSED("ping in fragments", "\x09\x00", false),
    REFUSED("close in fragments", "\x08\x00", false),
    REFUSED("ping of 126 bytes", "\x89\x7e\x00\x7e", false),
    REFUSED("close of 127 form", "\x88\x7f", false),
    REFUSED("client does not mask", "\x81\x05", true),
    REFUSED("server masks", "\x81\x85\x01\x02\x03\x04", false),
    REFUSED("known to be bad by its first byte", "\xc1", false),
    PARTIAL("nothing", "", false),
    PARTIAL("one byte", "\x81", false),
    PARTIAL("half a length", "\x82\x7e\x00", false),
    PARTIAL("half a mask", "\x81\x85\x01\x02", true),
};

static void frame_headers_have_one_form(void **state)
{
    for (size_t i = 0; i < COUNT_OF(header_rows); i++) {
        const struct header_row *row = &header_rows[i];
        struct ws_frame frame;
        enum ws_result result = ws_parse_header(row->bytes, row->from_client, &frame);
        if (result != row->result)
            fail_msg("%s: %d", row->name, (int)result);
        if (result == WS_FRAME && (frame.opcode != row->opcode || frame.length != row->length || frame.header_length != row->header_length))
            fail_msg("%s: opcode %d length %ju header %zu", row->name, (int)frame.opcode, (uintmax_t)frame.length, frame.header_length);
    }
}

struct stream_row {
    const char *name;
    struct str bytes;           /* of a server, unmasked */
    bool valid;
    size_t good;
    bool text, binary, close;
    unsigned code;
    const char *reason;
};
#define STREAM(name, bytes, good, text, binary) { name, STR_LITERAL(bytes), true, good, text, binary, false, 0, NULL }
#define CLOSES(name, bytes, good, code, reason) { name, STR_LITERAL(bytes), true, good, false, false, true, code, reason }
#define BREAKS(name, bytes, good) { name, STR_LITERAL(bytes), false, good, false, false, false, 0, NULL }

static const struct stream_row stream_rows[] = {
    STREAM("text", "\x81\x02hi", 4, true, false),
    STREAM("binary", "\x82\x02hi", 4, false, true),
    STREAM("both", "\x82\x02hi\x81\x01x", 7, true, true),
    STREAM("ping only", "\x89\x02hi", 4, false, false),
    STREAM("fragments", "\x02\x01" "a\x00\x01" "b\x80\x01" "c", 9, false, true),
    STREAM("ping between fragments", "\x01\x01" "a\x89\x00\x80\x01" "c", 8, true, false),
    STREAM("unfinished payload", "\x82\x05hi", 4, false, true),
    STREAM("unfinished header", "\x82", 1, false, false),
    CLOSES("close without code", "\x88\x00", 2, 1005, ""),
    CLOSES("close with code", "\x88\x02\x03\xe8", 4, 1000, ""),
    CLOSES("close with reason", "\x88\x05\x0f\xa1" "abc", 7, 4001, "abc"),
    CLOSES("close with utf-8", "\x88\x04\x03\xe8\xc3\xa9", 6, 1000, "\xc3\xa9"),
    CLOSES("nothing is read after a close", "\x88\x00\xff\xff", 2, 1005, ""),
    CLOSES("code 1001", "\x88\x02\x03\xe9", 4, 1001, ""),
    CLOSES("code 1003", "\x88\x02\x03\xeb", 4, 1003, ""),
    CLOSES("code 1007", "\x88\x02\x03\xef", 4, 1007, ""),
    CLOSES("code 1014", "\x88\x02\x03\xf6", 4, 1014, ""),
    CLOSES("code 3000", "\x88\x02\x0b\xb8", 4, 3000, ""),
    CLOSES("code 4999", "\x88\x02\x13\x87", 4, 4999, ""),
    BREAKS("close of one byte", "\x88\x01\x03", 0),
    BREAKS("code 0", "\x88\x02\x00\x00", 0),
    BREAKS("code 999", "\x88\x02\x03\xe7", 0),
    BREAKS("code 1004", "\x88\x02\x03\xec", 0),
    BREAKS("code 1005", "\x88\x02\x03\xed", 0),
    BREAKS("code 1006", "\x88\x02\x03\xee", 0),
    BREAKS("code 1015", "\x88\x02\x03\xf7", 0),
    BREAKS("code 2999", "\x88\x02\x0b\xb7", 0),
    BREAKS("code 5000", "\x88\x02\x13\x88", 0),
    BREAKS("code 65535", "\x88\x02\xff\xff", 0),
    BREAKS("reason cuts a character", "\x88\x03\x03\xe8\xc3", 0),
    BREAKS("reason is not utf-8", "\x88\x04\x03\xe8\xff\xfe", 0),
    BREAKS("reason with a surrogate", "\x88\x05\x03\xe8\xed\xa0\x80", 0),
    BREAKS("continuation of nothing", "\x80\x00", 0),
    BREAKS("message inside a message", "\x01\x01" "a\x81\x01" "b", 3),
    BREAKS("continuation after the end", "\x81\x01" "a\x80\x01" "b", 3),
    BREAKS("rsv after a good frame", "\x81\x01" "a\xc1\x00", 3),
};

static void a_stream_is_followed_frame_by_frame(void **state)
{
    for (size_t i = 0; i < COUNT_OF(stream_rows); i++) {
        const struct stream_row *row = &stream_rows[i];
        struct ws_follower follower;
        struct ws_seen seen = { 0 };
        size_t good = SIZE_MAX;
        ws_follow_init(&follower, false);
        bool valid = ws_follow(&follower, row->bytes, &good, &seen);
        if (valid != row->valid || good != row->good || seen.close != row->close)
            fail_msg("%s: valid %d good %zu close %d", row->name, valid, good, seen.close);
        if (valid && (seen.text != row->text || seen.binary != row->binary))
            fail_msg("%s: text %d binary %d", row->name, seen.text, seen.binary);
        if (seen.close && (seen.close_code != row->code || !str_equal_text(seen.close_reason, row->reason)))
            fail_msg("%s: code %u reason '%.*s'", row->name, seen.close_code, STR_ARG(seen.close_reason));
    }
}

static void a_stream_is_the_same_byte_by_byte(void **state)
{
    for (size_t i = 0; i < COUNT_OF(stream_rows); i++) {
        const struct stream_row *row = &stream_rows[i];
        struct ws_follower follower;
        struct ws_seen seen = { 0 };
        bool valid = true;
        ws_follow_init(&follower, false);
        for (size_t at = 0; valid && !seen.close && at < row->bytes.len; at++) {
            size_t good = 0;
            valid = ws_follow(&follower, str_of(row->bytes.data + at, 1), &good, &seen);
            assert_int_equal(good, valid);
        }
        if (valid != row->valid || seen.close != row->close || (seen.close && seen.close_code != row->code) ||
            (valid && (seen.text != row->text || seen.binary != row->binary)))
            fail_msg("%s: valid %d close %d", row->name, valid, seen.close);
    }
}

static void a_client_s_close_is_unmasked(void **state)
{
    cleanup_buf struct buf frame = { 0 };
    struct ws_follower follower;
    struct ws_seen seen = { 0 };
    size_t good;

    assert_true(ws_append_close(&frame, 4001, STR_LITERAL("because"), (const unsigned char *)"\x11\x22\x33\x44"));
    ws_follow_init(&follower, true);
    assert_true(ws_follow(&follower, buf_str(&frame), &good, &seen));
    assert_true(seen.close);
    assert_int_equal(seen.close_code, 4001);
    assert_true(str_equal_text(seen.close_reason, "because"));
}

static void boundaries_are_between_frames(void **state)
{
    struct ws_follower follower;
    struct ws_seen seen = { 0 };
    struct str frame = STR_LITERAL("\x82\x02hi");
    size_t good;

    ws_follow_init(&follower, false);
    assert_true(ws_follower_at_boundary(&follower));
    for (size_t i = 0; i < frame.len; i++) {
        assert_true(ws_follow(&follower, str_of(frame.data + i, 1), &good, &seen));
        assert_int_equal(ws_follower_at_boundary(&follower), i + 1 == frame.len);
    }
}

static void frames_are_written_as_they_are_read(void **state)
{
    static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };
    static const unsigned char mask[4] = { 0xde, 0xad, 0xbe, 0xef };

    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        for (int masked = 0; masked < 2; masked++) {
            cleanup_buf struct buf payload = { 0 }, out = { 0 };
            struct ws_frame frame;
            for (size_t n = 0; n < lengths[i]; n++)
                buf_append_char(&payload, (char)(n * 7));
            assert_true(ws_append_frame(&out, WS_BINARY, buf_str(&payload), masked ? mask : NULL));
            assert_int_equal(ws_parse_header(buf_str(&out), masked, &frame), WS_FRAME);
            assert_true(frame.fin);
            assert_int_equal(frame.length, lengths[i]);
            assert_int_equal(out.len, frame.header_length + lengths[i]);
            if (masked)
                ws_unmask(out.data + frame.header_length, lengths[i], frame.mask);
            assert_true(str_equal(str_skip(buf_str(&out), frame.header_length), buf_str(&payload)));
        }
    }
}

static struct str written_reason(struct buf *out, unsigned code, struct str reason)
{
    assert_true(ws_append_close(out, code, reason, NULL));
    assert_true(out->len <= 2 + WS_MAX_CONTROL);
    assert_int_equal((unsigned char)out->data[2] << 8 | (unsigned char)out->data[3], code);
    return str_skip(buf_str(out), 4);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    cleanup_buf struct buf ascii = { 0 }, accents = { 0 }, first = { 0 }, second = { 0 };

    for (int i = 0; i < 200; i++) {
        buf_append_char(&ascii, 'a');
        buf_append_text(&accents, "\xc3\xa9");
    }
    assert_int_equal(written_reason(&first, 4003, buf_str(&ascii)).len, 123);
    assert_int_equal(written_reason(&second, 4003, buf_str(&accents)).len, 122);
}

static void no_code_is_written_as_no_payload(void **state)
{
    cleanup_buf struct buf out = { 0 };

    assert_true(ws_append_close(&out, 1005, STR_LITERAL("lost"), NULL));
    assert_true(str_equal(buf_str(&out), STR_LITERAL("\x88\x00")));
}

static void a_full_buffer_is_reported(void **state)
{
    cleanup_buf struct buf out = { .limit = 3 };

    assert_false(ws_append_frame(&out, WS_TEXT, STR_LITERAL("hello"), NULL));
    assert_int_equal(out.len, 0);
}

/* RFC 6455 §1.3's own example. */
static void the_accept_key_follows_from_the_key(void **state)
{
    char accept[29], key[25], other[25];

    ws_accept_key(STR_LITERAL("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ws_random_key(key);
    ws_random_key(other);
    assert_int_equal(strlen(key), 24);
    assert_string_not_equal(key, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_headers_have_one_form),
        cmocka_unit_test(a_stream_is_followed_frame_by_frame),
        cmocka_unit_test(a_stream_is_the_same_byte_by_byte),
        cmocka_unit_test(a_client_s_close_is_unmasked),
        cmocka_unit_test(boundaries_are_between_frames),
        cmocka_unit_test(frames_are_written_as_they_are_read),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test(no_code_is_written_as_no_payload),
        cmocka_unit_test(a_full_buffer_is_reported),
        cmocka_unit_test(the_accept_key_follows_from_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
