/* The WebSocket of a terminal (orchestrator.md §2.7): accepted at once, authenticated by its first frame, joined to the guest's socket, then
 * relayed frame by frame. terminal_socket.c accepts and finds the terminal, terminal_dial.c reaches the guest,
 * terminal_relay.c relays and ends. Worker's thread. */
#ifndef GATEWAY_TERMINAL_SOCKET_H
#define GATEWAY_TERMINAL_SOCKET_H

#include "backend/key.h"
#include "gateway/client.h"
#include "gateway/lane.h"
#include "http/websocket.h"

enum socket_phase {
    SOCKET_AUTH,                /* waits for the auth frame */
    SOCKET_VERIFY,              /* the token is being checked */
    SOCKET_START,               /* the terminal is being started */
    SOCKET_CONNECT,             /* the guest is being dialled */
    SOCKET_HANDSHAKE,           /* the guest's answer to the upgrade is awaited */
    SOCKET_PAUSE,               /* until the next try */
    SOCKET_OPEN,
};

struct terminal_socket {
    enum socket_phase phase;
    bool limited;               /* counted as unauthenticated */
    bool counted;               /* in route->websockets */
    unsigned auth_frames;       /* taken before authentication */
    unsigned tries;             /* dials that failed */
    struct route_match match;   /* its texts point into `target` */
    char *target;               /* owned copies of what the request said: */
    char *user_id;              /* NULL: missing */
    char *context_id;           /* as given; NULL: missing */
    char *x_session_id;         /* NULL: the header was missing */
    unsigned refusal;           /* close code that waits until the caller has authenticated; 0: none */
    const char *refusal_reason;
    char *chat_id;              /* of the auth frame, or NULL */
    struct terminal_key *key;
    char accept[29];            /* what the guest must answer */
    unsigned interims;          /* answers before that, of this try */
    struct buf message;         /* the auth frame, when it comes in pieces */
    struct ws_follower from_client, from_guest;
    bool client_closed, guest_closed;       /* a close frame from there was passed on */
    bool early_seen;            /* what came with the auth frame has been followed */
    bool leaving;               /* the client has gone while the guest does not take what it sent */
};

/* A request of kind ROUTE_TERMINAL_SOCKET whose head is parsed. */
void terminal_socket_begin(struct client *client);
/* After an event of the client's connection. */
void terminal_socket_run(struct client *client);
void terminal_socket_timeout(struct client *client);
/* Closes both sides: the client with this code and reason. */
void terminal_socket_end(struct client *client, unsigned code, const char *reason);
/* Frees what client_close() and client_finish() do not know of. */
void terminal_socket_free(struct client *client);

/* --- between its files --- */

/* Begins a try; client->lane is not held. */
void terminal_dial(struct client *client, struct lane *lane);
/* The terminal's route is asked for (again). */
void terminal_find(struct client *client);
void terminal_dial_upstream_ready(struct stream *stream);
/* A try has failed. */
void terminal_dial_failed(struct client *client);
/* The guest agreed; `early` are its bytes after the head. */
void terminal_relay_begin(struct client *client, struct str early);
void terminal_relay_run(struct client *client);
/* To a ping that does not reach the guest, or not yet. False: the client is closed. */
bool terminal_answer_ping(struct client *client, struct str payload);
/* Before the guest is there: takes what the client sends, within a bound, and sees when it leaves. False: it is over. */
bool terminal_relay_early(struct client *client) MUST_CHECK;

#endif
