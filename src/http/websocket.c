/* WebSocket frames (RFC 6455 §5): headers parsed as early as their bytes allow, and a follower that keeps nothing of a stream but the header
 * under way and the payload of a control frame. Payloads of data frames are never looked at: a relay has no use for them. */
#include "http/websocket.h"

static bool opcode_is_known(unsigned opcode)
{
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

static bool opcode_is_control(enum ws_opcode opcode) { return opcode >= WS_CLOSE; }

static uint64_t big_endian(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The length announced by the second byte and, when it is an escape, `extra` more. False when a shorter form would have done. */
static bool read_length(const unsigned char *header, size_t extra, uint64_t *length)
{
    *length = extra == 0 ? header[1] & 0x7fu : big_endian(header + 2, extra);
    if (extra == 2)
        return *length > 125;
    if (extra == 8)
        return *length > 0xffff && *length <= INT64_MAX;
    return true;
}

enum ws_result ws_parse_header(struct str data, bool from_client, struct ws_frame *frame)
{
    const unsigned char *header = (const unsigned char *)data.data;

    if (data.len == 0)
        return WS_INCOMPLETE;
    if ((header[0] & 0x70) || !opcode_is_known(header[0] & 0x0f))
        return WS_BAD;
    frame->fin = header[0] & 0x80;
    frame->opcode = (enum ws_opcode)(header[0] & 0x0f);
    if (opcode_is_control(frame->opcode) && !frame->fin)
        return WS_BAD;
    if (data.len < 2)
        return WS_INCOMPLETE;
    frame->masked = header[1] & 0x80;
    unsigned short_length = header[1] & 0x7f;
    if (frame->masked != from_client || (opcode_is_control(frame->opcode) && short_length > WS_MAX_CONTROL))
        return WS_BAD;
    size_t extra = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    if (data.len < 2 + extra)
        return WS_INCOMPLETE;
    if (!read_length(header, extra, &frame->length))
        return WS_BAD;
    frame->header_length = 2 + extra + (frame->masked ? 4 : 0);
    if (data.len < frame->header_length)
        return WS_INCOMPLETE;
    if (frame->masked)
        memcpy(frame->mask, header + 2 + extra, sizeof(frame->mask));
    return WS_FRAME;
}

void ws_follow_init(struct ws_follower *follower, bool from_client)
{
    *follower = (struct ws_follower){ .from_client = from_client };
}

bool ws_follower_at_boundary(const struct ws_follower *follower)
{
    return follower->payload_left == 0 && follower->header_have == 0;
}

/* Moves bytes of the next header into the follower until it is complete. Gives how many it took; `*result` says what is there. */
static size_t gather_header(struct ws_follower *follower, struct str data, enum ws_result *result)
{
    size_t taken = 0;

    *result = WS_INCOMPLETE;
    while (*result == WS_INCOMPLETE && taken < data.len) {
        follower->header[follower->header_have++] = (unsigned char)data.data[taken++];
        *result = ws_parse_header(str_of((const char *)follower->header, follower->header_have), follower->from_client,
                                  &follower->frame);
    }
    return taken;
}

/* Takes the frame whose header is complete into account. False when it may not stand here (RFC 6455 §5.4). */
static bool begin_frame(struct ws_follower *follower)
{
    const struct ws_frame *frame = &follower->frame;

    follower->header_have = 0;
    follower->payload_left = frame->length;
    if (opcode_is_control(frame->opcode)) {
        follower->control_have = 0;
        return true;
    }
    if ((frame->opcode == WS_CONTINUATION) != follower->in_message)
        return false;
    if (frame->opcode != WS_CONTINUATION)
        follower->message_opcode = frame->opcode;
    follower->in_message = !frame->fin;
    return true;
}

static void note_data(const struct ws_follower *follower, struct ws_seen *seen)
{
    if (follower->message_opcode == WS_BINARY)
        seen->binary = true;
    else
        seen->text = true;
}

static size_t take_payload(struct ws_follower *follower, struct str data, struct ws_seen *seen)
{
    size_t len = follower->payload_left < data.len ? (size_t)follower->payload_left : data.len;

    if (opcode_is_control(follower->frame.opcode)) {
        for (size_t i = 0; i < len; i++, follower->control_have++)
            follower->control[follower->control_have] = (unsigned char)
                (data.data[i] ^ (follower->frame.masked ? follower->frame.mask[follower->control_have % 4] : 0));
    } else {
        note_data(follower, seen);
    }
    follower->payload_left -= len;
    return len;
}

static bool close_code_is_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static bool read_close(const struct ws_follower *follower, struct ws_seen *seen)
{
    seen->close = true;
    seen->close_code = 1005;
    seen->close_reason = str_of(NULL, 0);
    if (follower->control_have == 0)
        return true;
    if (follower->control_have == 1)
        return false;
    seen->close_code = (unsigned)big_endian(follower->control, 2);
    seen->close_reason = str_of((const char *)follower->control + 2, follower->control_have - 2);
    return close_code_is_valid(seen->close_code) && str_is_utf8(seen->close_reason);
}

/* Takes one step: a header, or as much of a payload as there is. `*used` bytes were looked at. */
static bool follow_step(struct ws_follower *follower, struct str data, size_t *used, struct ws_seen *seen)
{
    *used = 0;
    if (follower->payload_left == 0) {
        enum ws_result result;
        *used = gather_header(follower, data, &result);
        if (result == WS_INCOMPLETE)
            return true;
        if (result == WS_BAD || !begin_frame(follower))
            return false;
        if (!opcode_is_control(follower->frame.opcode))
            note_data(follower, seen);
        data = str_skip(data, *used);
    }
    *used += take_payload(follower, data, seen);
    if (follower->payload_left == 0 && follower->frame.opcode == WS_PING && seen->stop_at_ping) {
        seen->ping = true;
        seen->ping_payload = str_of((const char *)follower->control, follower->control_have);
    }
    if (follower->payload_left == 0 && follower->frame.opcode == WS_CLOSE && !read_close(follower, seen)) {
        seen->close = false;
        return false;
    }
    return true;
}

bool ws_follow(struct ws_follower *follower, struct str data, size_t *good, struct ws_seen *seen)
{
    size_t at = 0;

    *good = 0;
    while (at < data.len && !seen->close && !seen->ping) {
        size_t used;
        if (!follow_step(follower, str_skip(data, at), &used, seen))
            return false;
        at += used;
        if (ws_follower_at_boundary(follower))
            *good = at;
    }
    *good = at;
    return true;
}

void ws_unmask(char *data, size_t len, const unsigned char mask[4])
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(data[i] ^ mask[i % 4]);
}

static size_t write_header(unsigned char out[static WS_MAX_HEADER], enum ws_opcode opcode, uint64_t length, const unsigned char *mask)
{
    size_t extra = length > 0xffff ? 8 : length > 125 ? 2 : 0;
    size_t used = 2 + extra;

    out[0] = (unsigned char)(0x80 | (unsigned)opcode);
    out[1] = (unsigned char)((mask ? 0x80 : 0) | (extra == 8 ? 127 : extra == 2 ? 126 : (unsigned)length));
    for (size_t i = 0; i < extra; i++)
        out[2 + i] = (unsigned char)(length >> 8 * (extra - 1 - i));
    if (mask) {
        memcpy(out + used, mask, 4);
        used += 4;
    }
    return used;
}

bool ws_append_frame(struct buf *out, enum ws_opcode opcode, struct str payload, const unsigned char *mask)
{
    unsigned char header[WS_MAX_HEADER];
    size_t header_length = write_header(header, opcode, payload.len, mask);
    char *place = buf_reserve(out, header_length + payload.len);

    if (!place)
        return false;
    memcpy(place, header, header_length);
    if (payload.len > 0)
        memcpy(place + header_length, payload.data, payload.len);
    if (mask)
        ws_unmask(place + header_length, payload.len, mask);
    out->len += header_length + payload.len;
    return true;
}

/* The longest beginning of `text` within `limit` bytes that does not cut a character. */
static struct str cut_at_character(struct str text, size_t limit)
{
    if (text.len <= limit)
        return text;
    while (limit > 0 && ((unsigned char)text.data[limit] & 0xc0) == 0x80)
        limit--;
    return str_of(text.data, limit);
}

bool ws_append_close(struct buf *out, unsigned code, struct str reason, const unsigned char *mask)
{
    char payload[WS_MAX_CONTROL];

    if (code == 1005)
        return ws_append_frame(out, WS_CLOSE, str_of(NULL, 0), mask);
    reason = cut_at_character(reason, sizeof(payload) - 2);
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (reason.len > 0)
        memcpy(payload + 2, reason.data, reason.len);
    return ws_append_frame(out, WS_CLOSE, str_of(payload, reason.len + 2), mask);
}
