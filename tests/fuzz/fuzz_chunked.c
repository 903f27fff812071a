/* The chunked coding: the same body however the bytes are cut. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/chunked.h"

static enum chunked_result decode(struct str coded, size_t piece, struct buf *body, size_t *used)
{
    struct chunked_decoder decoder;
    enum chunked_result result = CHUNKED_MORE;

    chunked_init(&decoder);
    *used = 0;
    while (result == CHUNKED_MORE && *used < coded.len) {
        size_t left = coded.len - *used, given = left < piece ? left : piece;
        struct str input = str_of(coded.data + *used, given), span;
        while ((result = chunked_next(&decoder, &input, &span)) == CHUNKED_DATA) {
            ASSERT(span.len > 0 && fuzz_is_inside(span, coded));
            buf_append_str(body, span);
        }
        *used += given - input.len;
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_buf struct buf whole = { 0 }, pieces = { 0 };
    struct str coded;
    size_t piece = fuzz_choice(data, size, &coded) % 16u + 1, whole_used, pieces_used;
    enum chunked_result result = decode(coded, SIZE_MAX, &whole, &whole_used);

    ASSERT(decode(coded, piece, &pieces, &pieces_used) == result);
    ASSERT(whole_used == pieces_used && str_equal(buf_str(&whole), buf_str(&pieces)));
    return 0;
}
