/* The splitter is two loops: inside a piece, bytes only move the nesting depth and are copied run by run; between pieces (the envelope of a list, white space of
 * a stream) every byte is looked at alone. */
#include "kubernetes/split.h"

#include <string.h>

#define KEPT_CAPACITY (256u << 10)      /* a buffer that once held something huge is given back */

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* Moves past one byte inside a string. */
static void step_in_string(struct kube_splitter *splitter, char c)
{
    if (splitter->escaped)
        splitter->escaped = false;
    else if (c == '\\')
        splitter->escaped = true;
    else if (c == '"')
        splitter->in_string = false;
}

/* How many bytes of `data` belong to the piece under way; `*finished` when its last one is among them. */
static size_t measure_piece(struct kube_splitter *splitter, struct str data, bool *finished)
{
    unsigned base = splitter->list ? 2 : 0;

    for (size_t i = 0; i < data.len; i++) {
        char c = data.data[i];
        if (splitter->in_string)
            step_in_string(splitter, c);
        else if (c == '"')
            splitter->in_string = true;
        else if (c == '{' || c == '[')
            splitter->too_deep = ++splitter->depth > base + JSON_DEPTH_MAX || splitter->too_deep;
        else if ((c == '}' || c == ']') && --splitter->depth == base) {
            *finished = true;
            return i + 1;
        }
    }
    return data.len;
}

static void end_piece(struct kube_splitter *splitter)
{
    splitter->in_piece = splitter->too_deep = false;
    splitter->piece.len = 0;
    if (splitter->piece.cap > KEPT_CAPACITY)
        buf_free(&splitter->piece);
    splitter->piece.limit = KUBE_PIECE_MAX;
}

/* Takes bytes of the piece under way. 1 go on, 0 `each` said stop, negative error. */
static int take_piece(struct kube_splitter *splitter, struct str *data, bool (*each)(void *context, struct str piece), void *context,
                      struct error *err)
{
    bool finished = false, goes_on = true;
    size_t run = measure_piece(splitter, *data, &finished);

    if (splitter->too_deep)
        splitter->piece.len = 0;
    else if (!buf_append(&splitter->piece, data->data, run))
        return error_set(err, ERR_LIMIT, "an object is longer than %u bytes", KUBE_PIECE_MAX);
    *data = str_skip(*data, run);
    if (!finished)
        return 1;
    if (splitter->too_deep)
        splitter->skipped++;
    else
        goes_on = each(context, buf_str(&splitter->piece));
    end_piece(splitter);
    return goes_on;
}

static void begin_piece(struct kube_splitter *splitter) { splitter->in_piece = true; }

static int step_between_objects(struct kube_splitter *splitter, struct str *data, struct error *err)
{
    char c = data->data[0];

    if (c == '{')
        begin_piece(splitter);
    else if (is_space(c))
        *data = str_skip(*data, 1);
    else
        return error_set(err, ERR_INVALID, "the stream holds a byte 0x%02x between objects", (unsigned char)c);
    return 1;
}

/* Remembers the last string of the outermost object: it may be the key "items". */
static void note_key_byte(struct kube_splitter *splitter, char c)
{
    if (splitter->depth == 1 && splitter->key_len < sizeof(splitter->key))
        splitter->key[splitter->key_len++] = c;
}

static bool opens_items(const struct kube_splitter *splitter)
{
    static const char items[] = "items\"";

    return splitter->depth == 1 && splitter->last == ':' && splitter->key_len == sizeof(items) - 1 &&
           memcmp(splitter->key, items, sizeof(items) - 1) == 0;
}

static int open_bracket(struct kube_splitter *splitter, char c, struct error *err)
{
    if (c == '[' && opens_items(splitter))
        splitter->in_items = true;
    else if (splitter->depth == 0 && c != '{')
        return error_set(err, ERR_INVALID, "the list is not an object");
    if (++splitter->depth > JSON_DEPTH_MAX)
        return error_set(err, ERR_INVALID, "the list nests too deep");
    return 1;
}

static int close_bracket(struct kube_splitter *splitter, struct error *err)
{
    if (splitter->depth == 0)
        return error_set(err, ERR_INVALID, "the list closes more than it opens");
    if (--splitter->depth == 1)
        splitter->in_items = false;
    splitter->ended = splitter->depth == 0;
    return 1;
}

/* A byte of the list outside strings. */
static int step_structure(struct kube_splitter *splitter, char c, struct error *err)
{
    int result = 1;

    if (splitter->ended || (splitter->depth == 0 && c != '{' && c != '['))
        return error_set(err, ERR_INVALID, "the list has a byte 0x%02x outside its object", (unsigned char)c);
    if (c == '"') {
        splitter->in_string = true;
        splitter->key_len = splitter->depth == 1 ? 0 : splitter->key_len;
    } else if (c == '{' || c == '[')
        result = open_bracket(splitter, c, err);
    else if (c == '}' || c == ']')
        result = close_bracket(splitter, err);
    if (c != '"')
        splitter->last = c;
    return result;
}

/* One byte of what surrounds the items. */
static int step_around_items(struct kube_splitter *splitter, struct str *data, struct error *err)
{
    char c = data->data[0];
    bool in_items = splitter->in_items && splitter->depth == 2 && !splitter->in_string;

    if (in_items && c == '{') {
        begin_piece(splitter);
        return 1;
    }
    *data = str_skip(*data, 1);
    if (!splitter->in_string && (is_space(c) || (in_items && c == ',')))
        return 1;
    if (!buf_append_char(&splitter->rest, c))
        return error_set(err, ERR_LIMIT, "the list's envelope is longer than %u bytes", KUBE_REST_MAX);
    if (!splitter->in_string)
        return step_structure(splitter, c, err);
    note_key_byte(splitter, c);
    step_in_string(splitter, c);
    return 1;
}

int kube_split(struct kube_splitter *splitter, struct str data, bool (*each)(void *context, struct str piece), void *context,
               struct error *err)
{
    int result = 1;

    while (data.len > 0 && result > 0) {
        if (splitter->in_piece)
            result = take_piece(splitter, &data, each, context, err);
        else if (splitter->list)
            result = step_around_items(splitter, &data, err);
        else
            result = step_between_objects(splitter, &data, err);
    }
    return result;
}

bool kube_splitter_is_whole(const struct kube_splitter *splitter)
{
    return splitter->list ? splitter->ended : !splitter->in_piece;
}

void kube_splitter_clear(struct kube_splitter *splitter)
{
    buf_free(&splitter->piece);
    buf_free(&splitter->rest);
}
