/* WebSocket (RFC 6455) handshake and frames. A frame reader that follows the headers of a stream without holding payloads, for relaying; and
 * helpers for the few frames that we read or write ourselves. Pure functions over caller's state; one owner. */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include "base/buf.h"
#include "base/str.h"

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

#define WS_MAX_HEADER 14
#define WS_MAX_CONTROL 125

struct ws_frame {
    enum ws_opcode opcode;
    bool fin, masked;
    unsigned char mask[4];
    uint64_t length;            /* of the payload */
    size_t header_length;
};

enum ws_result { WS_INCOMPLETE, WS_FRAME, WS_BAD };

/* Parses one frame header at the start of `data`. `from_client`: the frame must be masked, else it must not be. Strict: no RSV bits, known
 * opcodes, control frames final and short, lengths in the shortest form and below 2^63. */
enum ws_result ws_parse_header(struct str data, bool from_client, struct ws_frame *frame) MUST_CHECK;

/* Follows a stream frame by frame while its bytes are passed on as they are. */
struct ws_follower {
    bool from_client;
    bool in_message;            /* a fragmented message is open */
    enum ws_opcode message_opcode;
    uint64_t payload_left;      /* of the frame under way */
    unsigned char header[WS_MAX_HEADER];
    size_t header_have;
    struct ws_frame frame;
    unsigned char control[WS_MAX_CONTROL];      /* payload of the control frame under way, unmasked */
    size_t control_have;
};

struct ws_seen {
    bool binary, text;          /* part of a message of this kind passed by */
    bool close;                 /* a close frame is complete */
    unsigned close_code;        /* 1005 when it had none */
    struct str close_reason;    /* inside the follower */
    bool stop_at_ping;          /* set by the caller: stop after a ping as after a close frame */
    bool ping;                  /* then: there was one */
    struct str ping_payload;    /* inside the follower */
};

void ws_follow_init(struct ws_follower *follower, bool from_client);
/* Looks at `data`, the next bytes of the stream. False when they break the protocol; `*good` bytes may still be passed on. What was
 * seen is added to `*seen` (zero the rest of it first). Stops after a close frame: `*good` then ends with it. */
bool ws_follow(struct ws_follower *follower, struct str data, size_t *good, struct ws_seen *seen) MUST_CHECK;
/* Whether the stream stands between two frames. */
bool ws_follower_at_boundary(const struct ws_follower *follower);

/* Appends a whole frame. `mask` NULL for frames of a server, else 4 random bytes. */
bool ws_append_frame(struct buf *out, enum ws_opcode opcode, struct str payload, const unsigned char *mask);
/* Appends a close frame; `reason` is cut to 123 bytes at a character's border. */
bool ws_append_close(struct buf *out, unsigned code, struct str reason, const unsigned char *mask);
void ws_unmask(char *data, size_t len, const unsigned char mask[4]);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. `out` has 29 bytes. */
void ws_accept_key(struct str key, char out[static 29]);
/* 24 characters for a Sec-WebSocket-Key of ours. */
void ws_random_key(char out[static 25]);

#endif
