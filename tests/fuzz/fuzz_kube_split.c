/* The splitter of watches and lists: the pieces are the same in whatever parts the input arrives, each is balanced, and it keeps no more than the one under way. */
#include "fuzz.h"
#include "kubernetes/split.h"

struct seen {
    struct buf text;
    size_t count;
};

static bool see_piece(void *context, struct str piece)
{
    struct seen *seen = context;
    struct error err = { 0 };
    json_t *value = json_read_lenient(piece, &err);

    ASSERT(piece.len >= 2 && piece.data[0] == '{' && (piece.data[piece.len - 1] == '}' || piece.data[piece.len - 1] == ']'));
    json_decref(value);
    buf_append_str(&seen->text, piece);
    buf_append_char(&seen->text, '\0');
    seen->count++;
    return true;
}

static int run(bool list, struct str text, size_t step, struct seen *seen)
{
    struct kube_splitter splitter = list ? KUBE_SPLITTER_LIST : KUBE_SPLITTER_STREAM;
    struct error err = { 0 };
    int result = 1;

    for (size_t at = 0; at < text.len && result > 0; at += step) {
        struct str rest = str_skip(text, at);
        result = kube_split(&splitter, str_of(rest.data, rest.len < step ? rest.len : step), see_piece, seen, &err);
        ASSERT(splitter.piece.len + splitter.rest.len <= text.len);
    }
    ASSERT(result > 0 || err.class != ERR_NONE);
    kube_splitter_clear(&splitter);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text;
    uint8_t choice = fuzz_choice(data, size, &text);
    bool list = choice & 1;
    struct seen whole = { 0 }, parts = { 0 };
    int first = run(list, text, text.len ? text.len : 1, &whole), second = run(list, text, (size_t)(choice >> 1) % 7 + 1, &parts);

    ASSERT(first == second && whole.count == parts.count && str_equal(buf_str(&whole.text), buf_str(&parts.text)));
    buf_free(&whole.text);
    buf_free(&parts.text);
    return 0;
}
