/* Queries are read pair by pair in place; only the value that was asked for is decoded. */
#include "http/uri.h"

bool query_next(struct str *rest, struct str *name, struct str *value)
{
    struct str pair;

    do {
        if (!str_next_part(rest, '&', &pair))
            return false;
    } while (pair.len == 0);
    size_t equals = str_find_char(pair, '=');
    if (equals == SIZE_MAX)
        equals = pair.len;
    *name = str_of(pair.data, equals);
    *value = str_skip(pair, equals + 1);
    return true;
}

/* Decodes `text` onto the end of `out`. */
static bool append_decoded(struct buf *out, struct str text)
{
    size_t len = 0;

    if (text.len == 0)
        return true;
    char *place = buf_reserve(out, text.len);
    if (!place || !str_percent_decode(text, true, place, &len))
        return false;
    out->len += len;
    return true;
}

/* A name whose escapes are malformed is nobody's name. */
static bool name_matches(struct str encoded, const char *name)
{
    size_t len = strlen(name), decoded_len = 0;
    char decoded[256];

    if (encoded.len < len || encoded.len > sizeof(decoded))
        return false;
    return str_percent_decode(encoded, true, decoded, &decoded_len) && decoded_len == len && memcmp(decoded, name, len) == 0;
}

size_t query_find(struct str query, const char *name, struct buf *value)
{
    struct str pair_name, pair_value;
    size_t count = 0;

    value->len = 0;
    while (query_next(&query, &pair_name, &pair_value)) {
        if (!name_matches(pair_name, name))
            continue;
        if (count++ == 0 && !append_decoded(value, pair_value))
            return SIZE_MAX;
    }
    return count;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void uri_encode(struct buf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (is_unreserved(c)) {
            buf_append_char(out, (char)c);
        } else {
            char escape[3] = { '%', digits[c >> 4], digits[c & 15] };
            buf_append(out, escape, sizeof(escape));
        }
    }
}
