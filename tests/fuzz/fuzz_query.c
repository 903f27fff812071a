/* Queries, and that what we encode is what was there. */
#include "fuzz.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str query = str_of((const char *)data, size), rest = query, name, value;
    cleanup_buf struct buf found = { 0 }, encoded = { 0 };
    size_t pairs = 0;

    while (query_next(&rest, &name, &value)) {
        ASSERT(fuzz_is_inside(name, query) && fuzz_is_inside(value, query));
        pairs++;
    }
    size_t count = query_find(query, "user_id", &found);
    ASSERT(count == SIZE_MAX || count <= pairs);
    ASSERT(found.len <= query.len && (count > 0 || found.len == 0));

    buf_append_text(&encoded, "user_id=");
    uri_encode(&encoded, query);
    ASSERT(query_find(buf_str(&encoded), "user_id", &found) == 1 && str_equal(buf_str(&found), query));
    return 0;
}
