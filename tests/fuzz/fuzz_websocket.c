/* WebSocket streams of either side: what a follower sees does not depend on where the bytes are cut, and ends at a close. */
#include "fuzz.h"
#include "http/websocket.h"

static bool follow(struct str stream, size_t piece, bool from_client, struct ws_seen *seen, struct ws_follower *follower, size_t *used)
{
    bool valid = true;

    *seen = (struct ws_seen){ 0 };
    *used = 0;
    ws_follow_init(follower, from_client);
    while (valid && !seen->close && *used < stream.len) {
        size_t left = stream.len - *used, given = left < piece ? left : piece, good = SIZE_MAX;
        valid = ws_follow(follower, str_of(stream.data + *used, given), &good, seen);
        ASSERT(good <= given && (!valid || seen->close || good == given));
        *used += good;
    }
    return valid;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str stream;
    uint8_t choice = fuzz_choice(data, size, &stream);
    struct ws_follower whole, pieces;
    struct ws_seen whole_seen, pieces_seen;
    size_t whole_used, pieces_used;
    bool valid = follow(stream, SIZE_MAX, choice & 1, &whole_seen, &whole, &whole_used);

    ASSERT(follow(stream, (choice >> 1) % 16u + 1, choice & 1, &pieces_seen, &pieces, &pieces_used) == valid);
    ASSERT(whole_seen.close == pieces_seen.close);
    if (!valid)
        return 0;
    ASSERT(whole_used == pieces_used && whole_seen.text == pieces_seen.text && whole_seen.binary == pieces_seen.binary);
    ASSERT(ws_follower_at_boundary(&whole) == ws_follower_at_boundary(&pieces));
    ASSERT(!whole_seen.close || (whole_seen.close_code == pieces_seen.close_code &&
                                 str_equal(whole_seen.close_reason, pieces_seen.close_reason)));
    return 0;
}
