/* The chunked transfer coding as a state machine over single bytes, except for the data of chunks, which pass as spans.
 *
 * A message that is all framing and no data would keep us busy for nothing: bytes of extensions and trailers are counted in `overhead`, data
 * pays them back byte for byte, and 8 KiB may be owed. */
#include "http/chunked.h"
#include "http/head_parts.h"

#define MAX_DIGITS 16
#define MAX_OVERHEAD 8192

enum state {
    STATE_SIZE, STATE_SIZE_BLANK, STATE_EXTENSION, STATE_SIZE_LF,
    STATE_DATA, STATE_DATA_CR, STATE_DATA_LF,
    STATE_TRAILER, STATE_TRAILER_NAME, STATE_TRAILER_VALUE, STATE_TRAILER_LF, STATE_LAST_LF,
    STATE_END, STATE_BAD,
};

void chunked_init(struct chunked_decoder *decoder)
{
    *decoder = (struct chunked_decoder){ .state = STATE_SIZE };
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Blanks behind the digits may stand before an extension only (RFC 9112 §7.1.1). */
static enum state after_blank(struct chunked_decoder *decoder, unsigned char c)
{
    if (c != ' ' && c != '\t')
        return c == ';' ? STATE_EXTENSION : STATE_BAD;
    return ++decoder->overhead > MAX_OVERHEAD ? STATE_BAD : STATE_SIZE_BLANK;
}

static enum state after_size_byte(struct chunked_decoder *decoder, unsigned char c)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        if (decoder->digits++ == MAX_DIGITS)
            return STATE_BAD;
        decoder->size = decoder->size << 4 | (unsigned)digit;
        return STATE_SIZE;
    }
    if (decoder->digits == 0)
        return STATE_BAD;
    return c == '\r' ? STATE_SIZE_LF : after_blank(decoder, c);
}

static enum state after_size_line(struct chunked_decoder *decoder, unsigned char c)
{
    if (c != '\n')
        return STATE_BAD;
    decoder->remaining = decoder->size;
    decoder->overhead -= decoder->size < decoder->overhead ? (unsigned)decoder->size : decoder->overhead;
    bool is_last = decoder->size == 0;
    decoder->size = 0;
    decoder->digits = 0;
    return is_last ? STATE_TRAILER : STATE_DATA;
}

/* Extensions and trailer values: text, then CR. */
static enum state after_text_byte(struct chunked_decoder *decoder, unsigned char c, enum state same, enum state after)
{
    if (c == '\r')
        return after;
    if ((c < 0x20 && c != '\t') || c == 0x7f || ++decoder->overhead > MAX_OVERHEAD)
        return STATE_BAD;
    return same;
}

static enum state after_name_byte(struct chunked_decoder *decoder, unsigned char c)
{
    if (++decoder->overhead > MAX_OVERHEAD)
        return STATE_BAD;
    return c == ':' ? STATE_TRAILER_VALUE : char_is((char)c, CHAR_TOKEN) ? STATE_TRAILER_NAME : STATE_BAD;
}

/* The first byte of a line of the trailer section. */
static enum state after_trailer_byte(struct chunked_decoder *decoder, unsigned char c)
{
    if (c == '\r')
        return STATE_LAST_LF;
    return char_is((char)c, CHAR_TOKEN) ? after_name_byte(decoder, c) : STATE_BAD;
}

static enum state after_byte(struct chunked_decoder *decoder, unsigned char c)
{
    switch ((enum state)decoder->state) {
    case STATE_SIZE:
        return after_size_byte(decoder, c);
    case STATE_SIZE_BLANK:
        return after_blank(decoder, c);
    case STATE_EXTENSION:
        return after_text_byte(decoder, c, STATE_EXTENSION, STATE_SIZE_LF);
    case STATE_SIZE_LF:
        return after_size_line(decoder, c);
    case STATE_DATA_CR:
        return c == '\r' ? STATE_DATA_LF : STATE_BAD;
    case STATE_DATA_LF:
        return c == '\n' ? STATE_SIZE : STATE_BAD;
    case STATE_TRAILER:
        return after_trailer_byte(decoder, c);
    case STATE_TRAILER_NAME:
        return after_name_byte(decoder, c);
    case STATE_TRAILER_VALUE:
        return after_text_byte(decoder, c, STATE_TRAILER_VALUE, STATE_TRAILER_LF);
    case STATE_TRAILER_LF:
        return c == '\n' ? STATE_TRAILER : STATE_BAD;
    case STATE_LAST_LF:
        return c == '\n' ? STATE_END : STATE_BAD;
    case STATE_DATA:
    case STATE_END:
    case STATE_BAD:
        break;
    }
    return STATE_BAD;
}

static void take_data(struct chunked_decoder *decoder, struct str *input, struct str *span)
{
    size_t len = decoder->remaining < input->len ? (size_t)decoder->remaining : input->len;

    *span = str_of(input->data, len);
    *input = str_of(input->data + len, input->len - len);
    decoder->remaining -= len;
    if (decoder->remaining == 0)
        decoder->state = STATE_DATA_CR;
}

enum chunked_result chunked_next(struct chunked_decoder *decoder, struct str *input, struct str *span)
{
    *span = str_of(NULL, 0);
    while (decoder->state < STATE_END && input->len > 0) {
        if (decoder->state == STATE_DATA) {
            take_data(decoder, input, span);
            return CHUNKED_DATA;
        }
        decoder->state = (int)after_byte(decoder, (unsigned char)input->data[0]);
        if (decoder->state != STATE_BAD)
            *input = str_of(input->data + 1, input->len - 1);
    }
    return decoder->state == STATE_END ? CHUNKED_END : decoder->state == STATE_BAD ? CHUNKED_BAD : CHUNKED_MORE;
}
