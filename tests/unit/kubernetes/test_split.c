/* Objects are cut out of arriving JSON whatever the borders of the pieces in which it arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"
#include "kubernetes/split.h"

struct gathered {
    struct buf text;            /* the pieces, each followed by '|' */
    unsigned count, stop_after;
};

static bool gather(void *context, struct str piece)
{
    struct gathered *gathered = context;

    buf_append_str(&gathered->text, piece);
    buf_append_char(&gathered->text, '|');
    return ++gathered->count != gathered->stop_after;
}

static struct kube_splitter new_splitter(bool list) { return list ? KUBE_SPLITTER_LIST : KUBE_SPLITTER_STREAM; }

/* Feeds the text in parts that end at `first` and `second`. */
static int feed(struct kube_splitter *splitter, struct str text, size_t first, size_t second, struct gathered *gathered, struct error *err)
{
    struct str parts[] = { str_of(text.data, first), str_of(text.data + first, second - first), str_skip(text, second) };
    int result = 1;

    for (size_t i = 0; i < COUNT_OF(parts) && result > 0; i++)
        result = kube_split(splitter, parts[i], gather, gathered, err);
    return result;
}

static const char stream_text[] =
    "{\"type\":\"ADDED\",\"object\":{\"a\":\"}{\\\"\\\\\"}}\n {\"b\":[{},[\"]\"]]}\r\n\n{}{\"\xc3\xbc\":\"\\u007d\"}\n";
static const char stream_pieces[] =
    "{\"type\":\"ADDED\",\"object\":{\"a\":\"}{\\\"\\\\\"}}|{\"b\":[{},[\"]\"]]}|{}|{\"\xc3\xbc\":\"\\u007d\"}|";

static void a_stream_is_cut_the_same_at_every_byte(void **state)
{
    struct str text = str_of(stream_text, sizeof(stream_text) - 1);

    for (size_t first = 0; first <= text.len; first++) {
        for (size_t second = first; second <= text.len; second++) {
            cleanup_splitter struct kube_splitter splitter = new_splitter(false);
            struct gathered gathered = { 0 };
            struct error err = { 0 };
            assert_int_equal(feed(&splitter, text, first, second, &gathered, &err), 1);
            assert_true(str_equal_text(buf_str(&gathered.text), stream_pieces));
            assert_true(kube_splitter_is_whole(&splitter));
            buf_free(&gathered.text);
        }
    }
}

static const char list_text[] =
    "{\"kind\":\"PodList\",\"x\":{\"items\":[{\"not\":1}]},\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"[{\\\"\"},"
    " \"items\" : [ {\"a\":{\"items\":[{}]}} ,\n{\"b\":\"],[{\"},{}] , \"y\":[{\"z\":0}]}\n";
static const char list_pieces[] = "{\"a\":{\"items\":[{}]}}|{\"b\":\"],[{\"}|{}|";

static void a_list_is_cut_the_same_at_every_byte(void **state)
{
    struct str text = str_of(list_text, sizeof(list_text) - 1);

    for (size_t first = 0; first <= text.len; first++) {
        cleanup_splitter struct kube_splitter splitter = new_splitter(true);
        struct gathered gathered = { 0 };
        struct error err = { 0 };
        assert_int_equal(feed(&splitter, text, first, text.len, &gathered, &err), 1);
        assert_true(str_equal_text(buf_str(&gathered.text), list_pieces));
        assert_true(kube_splitter_is_whole(&splitter));
        cleanup_json json_t *rest = json_read(buf_str(&splitter.rest), &err);
        assert_non_null(rest);
        assert_string_equal(json_text(json_object_get(rest, "metadata"), "continue"), "[{\"");
        assert_int_equal(json_array_size(json_object_get(rest, "items")), 0);
        assert_int_equal(json_array_size(json_object_get(rest, "y")), 1);
        buf_free(&gathered.text);
    }
}

struct row {
    const char *name, *text;
    bool list;
    int result;
    const char *pieces;
    bool whole;
};

static void what_is_no_such_stream_is_told(void **state)
{
    static const struct row rows[] = {
        { "an empty stream", "", false, 1, "", true },
        { "white space", " \r\n\t", false, 1, "", true },
        { "cut in an object", "{}{\"a\":", false, 1, "{}|", false },
        { "cut in a string", "{\"a\":\"}", false, 1, "", false },
        { "an array", "[]", false, -1, "", true },
        { "a number between objects", "{}1", false, -1, "{}|", true },
        { "HTML", "<html>", false, -1, "", true },
        { "an empty list", "{\"items\":[]}", true, 1, "", true },
        { "a list without items", "{}", true, 1, "", true },
        { "items that are null", "{\"items\":null}", true, 1, "", true },
        { "a list cut between items", "{\"items\":[{},", true, 1, "{}|", false },
        { "a list cut before its end", "{\"items\":[{}]", true, 1, "{}|", false },
        { "two lists", "{\"items\":[{}]}{", true, -1, "{}|", true },
        { "a list that is an array", "[{}]", true, -1, "", false },
        { "a list of too deep envelopes", NULL, true, -1, "", false },
        { "a key that only ends in items", "{\"xitems\":[{}],\"items2\":[{}]}", true, 1, "", true },
        { "items as a value", "{\"a\":\"items\",\"b\":[{}]}", true, 1, "", true },
        { "closed too often", "{}}", true, -1, "", true },
    };
    cleanup_free char *deep = xmalloc(1002);

    memcpy(deep, "{\"a\":", 5);
    memset(deep + 5, '[', 996);
    deep[1001] = '\0';
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        cleanup_splitter struct kube_splitter splitter = new_splitter(row->list);
        struct gathered gathered = { 0 };
        struct error err = { 0 };
        int result = kube_split(&splitter, str_from(row->text ? row->text : deep), gather, &gathered, &err);
        if (result != row->result || !str_equal_text(buf_str(&gathered.text), row->pieces) || (result > 0 && kube_splitter_is_whole(&splitter) != row->whole))
            fail_msg("%s: %d, %.*s, %d: %s", row->name, result, STR_ARG(buf_str(&gathered.text)), kube_splitter_is_whole(&splitter), err.text);
        buf_free(&gathered.text);
    }
}

static void whoever_takes_pieces_can_end_it(void **state)
{
    cleanup_splitter struct kube_splitter splitter = new_splitter(false);
    struct gathered gathered = { .stop_after = 2 };
    struct error err = { 0 };

    assert_int_equal(kube_split(&splitter, STR_LITERAL("{}{}{}"), gather, &gathered, &err), 0);
    assert_int_equal(gathered.count, 2);
    buf_free(&gathered.text);
}

static char *nested(unsigned depth)
{
    char *text = xcalloc(1, 2 * depth + 1);

    for (unsigned i = 0; i < depth; i++) {
        text[i] = i == 0 ? '{' : '[';
        text[2 * depth - 1 - i] = i == 0 ? '}' : ']';
    }
    return text;
}

static void an_object_that_nests_too_deep_is_left_out(void **state)
{
    static const bool forms[] = { false, true };
    cleanup_free char *deepest = nested(JSON_DEPTH_MAX), *deeper = nested(JSON_DEPTH_MAX + 1);

    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        cleanup_splitter struct kube_splitter splitter = new_splitter(forms[i]);
        struct gathered gathered = { 0 };
        struct error err = { 0 };
        cleanup_free char *text = xasprintf(forms[i] ? "{\"items\":[%s,%s,{}]}" : "%s %s {}", deeper, deepest);
        assert_int_equal(kube_split(&splitter, str_from(text), gather, &gathered, &err), 1);
        assert_int_equal(gathered.count, 2);
        assert_int_equal(splitter.skipped, 1);
        assert_true(kube_splitter_is_whole(&splitter));
        buf_free(&gathered.text);
    }
}

static void an_object_without_end_is_refused_before_it_fills_memory(void **state)
{
    cleanup_splitter struct kube_splitter splitter = new_splitter(false);
    cleanup_free char *filler = xmalloc(1 << 20);
    struct gathered gathered = { 0 };
    struct error err = { 0 };
    int result = kube_split(&splitter, STR_LITERAL("{\"a\":\""), gather, &gathered, &err);

    memset(filler, 'x', 1 << 20);
    for (int i = 0; i < 20 && result > 0; i++)
        result = kube_split(&splitter, str_of(filler, 1 << 20), gather, &gathered, &err);
    assert_int_equal(result, -1);
    assert_int_equal(err.class, ERR_LIMIT);
    assert_true(splitter.piece.cap <= 2 * KUBE_PIECE_MAX);
}

static void memory_does_not_grow_with_the_stream(void **state)
{
    cleanup_splitter struct kube_splitter splitter = new_splitter(false);
    cleanup_free char *large = xasprintf("{\"a\":\"%*s\"}", 1 << 20, "");
    struct gathered gathered = { 0 };
    struct error err = { 0 };

    assert_int_equal(kube_split(&splitter, str_from(large), gather, &gathered, &err), 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(kube_split(&splitter, STR_LITERAL("{\"a\":\"small\"}\n"), gather, &gathered, &err), 1);
    assert_true(splitter.piece.cap < 1024);
    assert_int_equal(splitter.rest.cap, 0);
    buf_free(&gathered.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_cut_the_same_at_every_byte),
        cmocka_unit_test(a_list_is_cut_the_same_at_every_byte),
        cmocka_unit_test(what_is_no_such_stream_is_told),
        cmocka_unit_test(whoever_takes_pieces_can_end_it),
        cmocka_unit_test(an_object_that_nests_too_deep_is_left_out),
        cmocka_unit_test(an_object_without_end_is_refused_before_it_fills_memory),
        cmocka_unit_test(memory_does_not_grow_with_the_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
