/* Chunked bodies against a second opinion: where llhttp and we both accept, the body and its end are the same. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/chunked.h"
#include "second_opinion.h"

struct opinion {
    struct buf body;
    bool complete;
};

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    buf_append(&((struct opinion *)parser->data)->body, at, len);
    return 0;
}

static int on_end(llhttp_t *parser)
{
    ((struct opinion *)parser->data)->complete = true;
    return HPE_PAUSED;
}

/* Gives how much of `coded` belongs to the body, or SIZE_MAX. */
static size_t ask_llhttp(struct str coded, struct opinion *opinion)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const llhttp_settings_t settings = { .on_body = on_body, .on_message_complete = on_end };
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = opinion;
    ASSERT(llhttp_execute(&parser, head, sizeof(head) - 1) == HPE_OK);
    (void)llhttp_execute(&parser, coded.data, coded.len);
    return opinion->complete ? (size_t)(llhttp_get_error_pos(&parser) - coded.data) : SIZE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_buf struct buf body = { 0 };
    struct chunked_decoder decoder;
    struct opinion opinion = { 0 };
    struct str coded, input, span;
    enum chunked_result result;

    (void)fuzz_choice(data, size, &coded);
    input = coded;
    chunked_init(&decoder);
    while ((result = chunked_next(&decoder, &input, &span)) == CHUNKED_DATA)
        buf_append_str(&body, span);
    if (result == CHUNKED_END) {
        size_t theirs = ask_llhttp(coded, &opinion), ours = coded.len - input.len;
        if (theirs != SIZE_MAX)
            ASSERT((theirs == ours || theirs + 1 == ours) && str_equal(buf_str(&body), buf_str(&opinion.body)));
    }
    buf_free(&opinion.body);
    return 0;
}
