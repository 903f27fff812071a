/* A cursor is the last key of a page, its three parts separated by NUL, in hex. */
#include "api/cursor.h"

#include "base/buf.h"

static void append_hex(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", (unsigned)(unsigned char)text[i]);
}

char *cursor_after(const struct terminal_key *key)
{
    struct buf out = { 0 };

    append_hex(&out, key->user_id, strlen(key->user_id) + 1);
    append_hex(&out, key->policy_id, strlen(key->policy_id) + 1);
    append_hex(&out, key->context_id, strlen(key->context_id));
    return buf_take(&out);
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool append_bytes(struct buf *out, struct str hex)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        int high = digit_value(hex.data[i]), low = digit_value(hex.data[i + 1]);
        if (high < 0 || low < 0)
            return false;
        buf_append_char(out, (char)(high * 16 + low));
    }
    return hex.len % 2 == 0 && !out->failed;
}

struct terminal_key *cursor_read(struct str text)
{
    cleanup_buf struct buf bytes = { .limit = 4096 };
    struct str parts[3] = { { NULL, 0 } };

    if (!append_bytes(&bytes, text))
        return NULL;
    struct str rest = buf_str(&bytes);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        size_t end = str_find_char(rest, '\0');
        if ((end == SIZE_MAX) != (i == 2))
            return NULL;
        parts[i] = str_of(rest.data, end == SIZE_MAX ? rest.len : end);
        rest = str_skip(rest, parts[i].len + 1);
    }
    return terminal_key_new(parts[0], parts[1], parts[2]);
}

bool key_is_after(const struct terminal_key *key, const struct terminal_key *place)
{
    int order = strcmp(key->user_id, place->user_id);
    if (order == 0)
        order = strcmp(key->policy_id, place->policy_id);
    if (order == 0)
        order = strcmp(key->context_id, place->context_id);
    return order > 0;
}
