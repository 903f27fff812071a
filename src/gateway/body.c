/* Spans of body stay where they were read; an array of them goes to the kernel in one call, with the head before and the chunk's frame
 * around it. */
#include "gateway/body.h"

#define MAX_SPANS 60

void body_init(struct body *body, enum http_framing framing, uint64_t length)
{
    *body = (struct body){ .framing = framing, .left = length };
    if (framing == HTTP_BODY_CHUNKED)
        chunked_init(&body->decoder);
    body->done = framing == HTTP_BODY_NONE || (framing == HTTP_BODY_LENGTH && length == 0);
}

/* The next span of body bytes; empty when the input is used up or the body is done. False: broken framing. */
static bool body_next(struct body *body, struct str *input, struct str *span)
{
    *span = (struct str){ 0 };
    if (body->done || input->len == 0)
        return true;
    if (body->framing == HTTP_BODY_CHUNKED) {
        switch (chunked_next(&body->decoder, input, span)) {
        case CHUNKED_DATA:
        case CHUNKED_MORE:
            return true;
        case CHUNKED_END:
            body->done = true;
            return true;
        case CHUNKED_BAD:
            break;
        }
        return false;
    }
    size_t len = input->len;
    if (body->framing == HTTP_BODY_LENGTH) {
        if (len > body->left)
            len = (size_t)body->left;
        body->left -= len;
        body->done = body->left == 0;
    }
    *span = str_of(input->data, len);
    *input = str_skip(*input, len);
    return true;
}

/* What goes to the kernel in one call. */
struct parcel {
    struct iovec parts[MAX_SPANS + 4];
    size_t count, spans, payload;
    char size_line[20];
};

static void parcel_add(struct parcel *parcel, const void *data, size_t len)
{
    parcel->parts[parcel->count++] = (struct iovec){ (void *)data, len };
}

/* Fills the parcel with spans. False: broken framing. */
static bool parcel_fill(struct parcel *parcel, struct body *body, struct str *input,
                        void (*observe)(void *context, struct str piece), void *context)
{
    while (parcel->spans < MAX_SPANS) {
        struct str span;
        if (!body_next(body, input, &span))
            return false;
        if (span.len == 0) {
            if (body->done || input->len == 0)
                break;
            continue;
        }
        parcel_add(parcel, span.data, span.len);
        parcel->spans++;
        parcel->payload += span.len;
        if (observe)
            observe(context, span);
    }
    return true;
}

/* The chunk's frame around the spans, whose size line was left room for at `at`. */
static void parcel_frame(struct parcel *parcel, size_t at, bool last)
{
    int len = 0;
    if (parcel->payload > 0)
        len = snprintf(parcel->size_line, sizeof(parcel->size_line), "%zx\r\n", parcel->payload);
    parcel->parts[at] = (struct iovec){ parcel->size_line, (size_t)len };
    if (parcel->payload > 0)
        parcel_add(parcel, last ? "\r\n0\r\n\r\n" : "\r\n", last ? 7 : 2);
    else if (last)
        parcel_add(parcel, "0\r\n\r\n", 5);
}

enum body_result body_relay(struct body *body, struct str head, struct str *input, bool chunked, struct stream *to, uint64_t *bytes,
                            void (*observe)(void *context, struct str piece), void *context)
{
    bool was_done = body->done;
    do {
        struct parcel parcel;
        parcel.count = parcel.spans = parcel.payload = 0;
        parcel_add(&parcel, head.data, head.len);
        size_t size_line_at = parcel.count;
        if (chunked)
            parcel.count++;
        bool good = parcel_fill(&parcel, body, input, observe, context);
        if (chunked)
            parcel_frame(&parcel, size_line_at, good && body->done && !was_done);
        *bytes += parcel.payload;
        if (!stream_write(to, parcel.parts, parcel.count))
            return BODY_UNSENT;
        if (!good)
            return BODY_BAD;
        head = (struct str){ 0 };
    } while (!body->done && input->len > 0);
    return BODY_OK;
}

enum body_result body_gather(struct body *body, struct str *input, struct buf *out)
{
    while (!body->done && input->len > 0) {
        struct str span;
        if (!body_next(body, input, &span))
            return BODY_BAD;
        if (span.len > 0 && !buf_append_str(out, span))
            return BODY_UNSENT;
    }
    return BODY_OK;
}

bool body_end(struct body *body, bool chunked, struct stream *to)
{
    if (body->framing != HTTP_BODY_UNTIL_CLOSE)
        return false;
    body->done = true;
    return !chunked || stream_write_str(to, STR_LITERAL("0\r\n\r\n"));
}
