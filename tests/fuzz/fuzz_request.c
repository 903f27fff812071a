/* Request heads. Whatever is accepted points into its buffer, holds nothing that could be read as two messages, and is the same when it arrives in two
 * pieces. */
#include "fuzz.h"
#include "http/head.h"

static bool is_clean(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0')
            return false;
    return true;
}

static void check_request(const struct http_request *request, struct str head)
{
    bool is_static = str_equal_text(request->path, "/") || str_equal_text(request->path, "*");

    ASSERT(fuzz_is_inside(request->method_text, head) && request->method_text.len > 0);
    ASSERT((is_static || fuzz_is_inside(request->path, head)) && fuzz_is_inside(request->query, head));
    ASSERT(request->path.len > 0 && (request->path.data[0] == '/' || is_static));
    ASSERT(is_clean(request->path) && is_clean(request->query));
    ASSERT(request->fields.count <= HTTP_MAX_FIELDS && request->framing != HTTP_BODY_UNTIL_CLOSE);
    for (size_t i = 0; i < request->fields.count; i++) {
        const struct http_field *field = &request->fields.items[i];
        ASSERT(fuzz_is_inside(field->name, head) && field->name.len > 0 && is_clean(field->name));
        ASSERT(fuzz_is_inside(field->value, head) && is_clean(field->value));
        (void)http_is_hop_by_hop(&request->fields, field->name);
    }
    size_t lengths = http_count_field(&request->fields, STR_LITERAL("content-length"));
    size_t codings = http_count_field(&request->fields, STR_LITERAL("transfer-encoding"));
    ASSERT(lengths + codings <= 1 && (request->framing == HTTP_BODY_CHUNKED) == (codings == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request whole, split;
    struct str head;
    uint8_t cut = fuzz_choice(data, size, &head);
    size_t scanned = 0, consumed = 0, split_consumed = 0;
    int status = 0;
    const char *why = NULL;
    enum http_parse_result result = http_parse_request(head, &scanned, &whole, &consumed, &status, &why);

    ASSERT(result != HTTP_BAD || (status >= 400 && status <= 599 && why));
    if (result == HTTP_COMPLETE) {
        ASSERT(consumed > 0 && consumed <= head.len);
        check_request(&whole, str_of(head.data, consumed));
    }
    scanned = 0;
    enum http_parse_result first = http_parse_request(str_of(head.data, cut < head.len ? cut : head.len), &scanned, &split, &split_consumed,
                                                      &status, &why);
    enum http_parse_result second = first != HTTP_INCOMPLETE ? first
                                    : http_parse_request(head, &scanned, &split, &split_consumed, &status, &why);
    ASSERT((second == HTTP_COMPLETE) == (result == HTTP_COMPLETE));
    ASSERT(second != HTTP_COMPLETE || (split_consumed == consumed && split.fields.count == whole.fields.count));
    return 0;
}
