/* The field section of a head: one pass over the bytes, which are checked, cut into fields, and asked what they say about framing.
 *
 * This runs for every proxied message, so it looks at each byte once: names through a table, values eight bytes at a time. */
#include <endian.h>

#include "http/head_parts.h"

const unsigned char http_char_class[256] = {
    ['!'] = CHAR_TOKEN | CHAR_TARGET,
    ['"'] = CHAR_TARGET,
    ['#'] = CHAR_TOKEN,
    ['$' ... '\''] = CHAR_TOKEN | CHAR_TARGET,
    ['(' ... ')'] = CHAR_TARGET,
    ['*' ... '+'] = CHAR_TOKEN | CHAR_TARGET,
    [','] = CHAR_TARGET,
    ['-' ... '.'] = CHAR_TOKEN | CHAR_TARGET,
    ['/'] = CHAR_TARGET,
    ['0' ... '9'] = CHAR_TOKEN | CHAR_TARGET,
    [':' ... '>'] = CHAR_TARGET,
    ['@'] = CHAR_TARGET,
    ['A' ... 'Z'] = CHAR_TOKEN | CHAR_TARGET,
    ['[' ... ']'] = CHAR_TARGET,
    ['^' ... 'z'] = CHAR_TOKEN | CHAR_TARGET,
    ['{'] = CHAR_TARGET,
    ['|'] = CHAR_TOKEN | CHAR_TARGET,
    ['}'] = CHAR_TARGET,
    ['~'] = CHAR_TOKEN | CHAR_TARGET,
    [0x80 ... 0xff] = CHAR_TARGET,
};

/* The top bit of each byte of `word` that is below 0x20 or is 0x7f. A borrow can set bits above a true one, never below it: the lowest set bit is
 * exact, and so is zero. */
static uint64_t control_bits(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t below_space = (word - ones * 0x20) & ~word & tops;
    uint64_t without_del = word ^ (ones * 0x7f);
    uint64_t is_del = (without_del - ones) & ~without_del & tops;

    return below_space | is_del;
}

/* Where the first control character at or after `at` is, or `end`. */
static const char *find_control(const char *at, const char *end)
{
    uint64_t word;

    for (; end - at >= (ptrdiff_t)sizeof(word); at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        uint64_t bits = control_bits(le64toh(word));
        if (bits)
            return at + __builtin_ctzll(bits) / 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && *at != 0x7f)
        at++;
    return at;
}

enum http_parse_result head_parse_text(struct head_cursor *cursor, struct str *text)
{
    const char *at = find_control(cursor->at, cursor->end);

    while (at < cursor->end && *at == '\t')
        at = find_control(at + 1, cursor->end);
    *text = str_of(cursor->at, (size_t)(at - cursor->at));
    cursor->at = at;
    return at == cursor->end ? HTTP_INCOMPLETE : HTTP_COMPLETE;
}

enum http_parse_result head_parse_line_end(struct head_cursor *cursor)
{
    if (cursor->at == cursor->end)
        return HTTP_INCOMPLETE;
    if (*cursor->at != '\r')
        return head_bad(cursor, 400, *cursor->at == '\n' ? "A line ends without CR." : "A control character is in the head.");
    if (cursor->at + 1 == cursor->end)
        return HTTP_INCOMPLETE;
    if (cursor->at[1] != '\n')
        return head_bad(cursor, 400, "A CR is not followed by LF.");
    cursor->at += 2;
    return HTTP_COMPLETE;
}

static struct str trim_blanks(struct str text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = str_of(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

bool head_next_element(struct str *rest, struct str *element)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->data, ',', rest->len);
        size_t len = comma ? (size_t)(comma - rest->data) : rest->len;
        *element = trim_blanks(str_of(rest->data, len));
        size_t used = comma ? len + 1 : len;
        *rest = str_of(rest->data + used, rest->len - used);
        if (element->len > 0)
            return true;
    }
    return false;
}

static enum http_parse_result note_length(struct head_cursor *cursor, struct str value, struct head_facts *facts)
{
    if (facts->has_length)
        return head_bad(cursor, 400, "There is more than one Content-Length.");
    if (value.len == 0 || value.len > 19)
        return head_bad(cursor, 400, "The Content-Length is not a number.");
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned char)value.data[i] - (unsigned)'0';
        if (digit > 9)
            return head_bad(cursor, 400, "The Content-Length is not a number.");
        length = length * 10 + digit;   /* 19 digits fit */
    }
    if (length > INT64_MAX)
        return head_bad(cursor, 400, "The Content-Length is too large.");
    facts->has_length = true;
    facts->length = length;
    return HTTP_COMPLETE;
}

static enum http_parse_result note_coding(struct head_cursor *cursor, struct str value, struct head_facts *facts)
{
    if (facts->has_coding)
        return head_bad(cursor, 400, "There is more than one Transfer-Encoding.");
    facts->has_coding = true;
    facts->chunked = value.len == 7 && TOKEN_IS(value.data, "chunked");
    return facts->chunked ? HTTP_COMPLETE : head_bad(cursor, 501, "The only known transfer coding is chunked.");
}

static void note_connection(struct str value, struct head_facts *facts)
{
    struct str option;

    while (head_next_element(&value, &option)) {
        if (option.len == 5 && TOKEN_IS(option.data, "close"))
            facts->says_close = true;
        else if (option.len == 10 && TOKEN_IS(option.data, "keep-alive"))
            facts->says_keep_alive = true;
        else if (option.len == 7 && TOKEN_IS(option.data, "upgrade"))
            facts->says_upgrade = true;
    }
}

/* Keeps what `field` says about framing; the length of the name rules most fields out. */
static enum http_parse_result note_field(struct head_cursor *cursor, const struct http_field *field, struct head_facts *facts)
{
    const char *name = field->name.data;
    struct str value = field->value;

    switch (field->name.len) {
    case 4:
        facts->hosts += TOKEN_IS(name, "host");
        break;
    case 6:
        if (TOKEN_IS(name, "expect") && value.len == 12 && TOKEN_IS(value.data, "100-continue"))
            facts->expects_continue = true;
        break;
    case 7:
        if (!facts->upgrade.data && TOKEN_IS(name, "upgrade"))
            facts->upgrade = value;
        break;
    case 10:
        if (TOKEN_IS(name, "connection"))
            note_connection(value, facts);
        break;
    case 14:
        if (TOKEN_IS(name, "content-length"))
            return note_length(cursor, value, facts);
        break;
    case 17:
        if (TOKEN_IS(name, "transfer-encoding"))
            return note_coding(cursor, value, facts);
        break;
    default:
        break;
    }
    return HTTP_COMPLETE;
}

static enum http_parse_result parse_name(struct head_cursor *cursor, struct str *name)
{
    const char *at = cursor->at, *end = cursor->end;

    while (at < end && char_is(*at, CHAR_TOKEN))
        at++;
    if (at == end)
        return HTTP_INCOMPLETE;
    if (*at != ':' || at == cursor->at)
        return head_bad(cursor, 400, at == cursor->at && (*at == ' ' || *at == '\t') ? "A field line is folded."
                                     : *at == ' ' || *at == '\t' ? "There is a blank before the colon of a field."
                                     : "A field name is malformed.");
    *name = str_of(cursor->at, (size_t)(at - cursor->at));
    cursor->at = at + 1;
    return HTTP_COMPLETE;
}

static enum http_parse_result parse_field(struct head_cursor *cursor, struct http_field *field)
{
    enum http_parse_result result = parse_name(cursor, &field->name);

    if (result == HTTP_COMPLETE)
        result = head_parse_text(cursor, &field->value);
    if (result != HTTP_COMPLETE)
        return result;
    field->value = trim_blanks(field->value);
    return head_parse_line_end(cursor);
}

enum http_parse_result head_parse_fields(struct head_cursor *cursor, struct http_fields *fields, struct head_facts *facts)
{
    *facts = (struct head_facts){ 0 };
    fields->count = 0;
    while (cursor->at < cursor->end && *cursor->at != '\r') {
        if (fields->count == HTTP_MAX_FIELDS)
            return head_bad(cursor, 431, "There are too many fields.");
        struct http_field *field = &fields->items[fields->count];
        enum http_parse_result result = parse_field(cursor, field);
        if (result == HTTP_COMPLETE)
            result = note_field(cursor, field, facts);
        if (result != HTTP_COMPLETE)
            return result;
        fields->count++;
    }
    return head_parse_line_end(cursor);
}
