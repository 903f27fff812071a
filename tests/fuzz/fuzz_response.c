/* Response heads, of guests that may be hostile. */
#include "fuzz.h"
#include "http/head.h"

static void check_response(const struct http_response *response, enum http_method method)
{
    bool bodiless = method == HTTP_HEAD || response->status < 200 || response->status == 204 || response->status == 304;
    size_t lengths = http_count_field(&response->fields, STR_LITERAL("content-length"));
    size_t codings = http_count_field(&response->fields, STR_LITERAL("transfer-encoding"));

    ASSERT(response->status >= 100 && response->status <= 999);
    ASSERT(!bodiless || response->framing == HTTP_BODY_NONE);
    ASSERT(lengths + codings <= 1 && response->has_content_length == (lengths == 1));
    ASSERT(response->framing != HTTP_BODY_UNTIL_CLOSE || !response->keep_alive);
    ASSERT(response->framing != HTTP_BODY_LENGTH || response->content_length > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_response response;
    struct str head;
    enum http_method method = (enum http_method)(fuzz_choice(data, size, &head) % (HTTP_METHOD_OTHER + 1));
    size_t scanned = 0, consumed = 0;
    const char *why = NULL;
    enum http_parse_result result = http_parse_response(head, &scanned, method, &response, &consumed, &why);

    ASSERT(result != HTTP_BAD || why);
    if (result == HTTP_COMPLETE) {
        ASSERT(consumed > 0 && consumed <= head.len);
        check_response(&response, method);
    }
    return 0;
}
