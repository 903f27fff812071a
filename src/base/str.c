#include "base/str.h"

#include <strings.h>

bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_equal_text(struct str a, const char *b) { return str_equal(a, str_from(b)); }

bool str_equal_nocase(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_equal(str_of(s.data, prefix.len), prefix);
}

bool str_ends_with(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_equal(str_of(s.data + s.len - suffix.len, suffix.len), suffix);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = str_of(s.data + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

struct str str_skip(struct str s, size_t from)
{
    if (from >= s.len)
        return str_of(s.data ? s.data + s.len : NULL, 0);
    return str_of(s.data + from, s.len - from);
}

size_t str_find_char(struct str s, char c)
{
    const char *found = s.len ? memchr(s.data, c, s.len) : NULL;
    return found ? (size_t)(found - s.data) : SIZE_MAX;
}

bool str_next_part(struct str *rest, char separator, struct str *part)
{
    if (!rest->data)
        return false;
    size_t at = str_find_char(*rest, separator);
    if (at == SIZE_MAX) {
        *part = *rest;
        *rest = (struct str){ NULL, 0 };
    } else {
        *part = str_of(rest->data, at);
        *rest = str_of(rest->data + at + 1, rest->len - at - 1);
    }
    return true;
}

char *str_dup(struct str s)
{
    char *copy = xmalloc(s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

bool str_to_u64(struct str s, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, s.data[i] - '0', &sum))
            return false;
    }
    *value = sum;
    return s.len > 0;
}

bool str_to_i64(struct str s, int64_t *value)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t amount;
    if (!str_to_u64(negative ? str_skip(s, 1) : s, &amount) || amount > (uint64_t)INT64_MAX)
        return false;
    *value = negative ? -(int64_t)amount : (int64_t)amount;
    return true;
}

size_t str_utf8_first(struct str s, uint32_t *code)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *bytes = (const unsigned char *)s.data;
    if (s.len == 0)
        return 0;
    *code = bytes[0];
    if (bytes[0] < 0x80)
        return 1;
    size_t want = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || s.len < want)
        return 0;
    *code = bytes[0] & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (bytes[i] & 0x3fu);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < smallest[want] || *code > 0x10ffff || surrogate ? 0 : want;
}

bool str_is_utf8(struct str s)
{
    uint32_t code;
    while (s.len > 0) {
        size_t step = str_utf8_first(s, &code);
        if (step == 0)
            return false;
        s = str_skip(s, step);
    }
    return true;
}

bool str_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return true;
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_percent_decode(struct str s, bool plus_is_space, char *out, size_t *len)
{
    size_t to = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '%') {
            int high = i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(s.data[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[to++] = c;
    }
    *len = to;
    return true;
}
