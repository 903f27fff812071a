/* A client's connection and the request that is under way on it.
 *
 * Input is read into the worker's scratch buffer and used there; only what cannot be used at once is kept in `in`. While a request sleeps
 * (token check, start of a terminal, connection to the guest) its whole head stays at the front of the input and is parsed
 * again on waking, so that a sleeping request costs its bytes and no parsed form. Owner: one worker. */
#ifndef GATEWAY_CLIENT_H
#define GATEWAY_CLIENT_H

#include "gateway/body.h"
#include "gateway/limits.h"
#include "gateway/worker.h"

enum client_phase {
    CLIENT_HEAD,            /* between requests, or reading a head */
    CLIENT_SLEEP,           /* waits for a letter: token, terminal, api, document */
    CLIENT_GATHER,          /* reads the body of an /api/v1 request */
    CLIENT_CONNECT,         /* waits for a connection to the guest */
    CLIENT_RELAY,           /* request and response pass */
    CLIENT_TUNNEL,          /* raw bytes pass */
    CLIENT_SOCKET,          /* a terminal socket, see terminal_socket.c */
    CLIENT_CLOSING,         /* the last answer goes out, input is thrown away */
    CLIENT_GONE,
};

struct letter;
struct upstream;
struct lane;
struct terminal_socket;
struct tunnel;

#define REQUEST_ID_MAX 128

struct client {
    struct stream stream;
    struct worker *worker;
    struct list node;               /* in worker->clients */
    struct burial burial;
    struct timer timer;
    enum client_phase phase;
    struct limit_address address;
    bool latecomer;                 /* it connected while the service was stopping */

    struct buf in;                  /* input not used yet; begins with the head while head_len > 0 */
    size_t scanned;                 /* of an incomplete head */
    size_t head_len;                /* the head in hand, while it may be needed again */
    bool lingering;                 /* CLIENT_CLOSING: the answer is out, input is thrown away until the client ends, at most for two seconds */

    /* the request under way */
    enum route_kind kind;
    enum http_method method;
    bool keep;                      /* the connection may take another request afterwards */
    bool old_version;               /* HTTP/1.0 */
    bool half_closed;               /* the client had ended its side when the head came: it still wants the answer */
    bool expect_continue;
    bool counted;                   /* a request is under way that was not counted yet */
    bool active;                    /* it counts as activity of its terminal */
    bool entered;                   /* it is counted in route->active_requests of `lane` */
    bool wrote;                     /* some byte of it may have reached a guest */
    bool response_bytes;            /* some byte of a response came */
    bool response_started;          /* the response's head went to the client */
    bool response_chunked;          /* towards the client */
    bool upstream_keeps;
    bool upload_dead;               /* the guest does not take the rest of the body */
    unsigned char tries, refusals;  /* sent again; found withdrawn */
    int status;
    struct body request_body, response_body;
    uint64_t bytes_in, bytes_out;
    int64_t began_us;
    char request_id[REQUEST_ID_MAX + 1];
    char *cors_origin;              /* owned; the origin that may read the answer, or NULL */
    char *log_target;               /* owned; method and path for the access log, or NULL */
    char log_user[13];              /* user hash */

    struct lane *lane;              /* held */
    struct list lane_node;          /* in lane->sockets */
    struct upstream *upstream;
    struct letter *letter;          /* what it sleeps for */
    void (*late)(struct client *client);        /* what to answer when that takes too long */
    struct buf gathered;            /* CLIENT_GATHER: the body; else the captured answer to POST /api/terminals */
    bool capture;
    char *session_header;           /* of the POST that creates a session; NULL: it had none */
    struct terminal_socket *socket;
    struct tunnel *tunnel;
};

/* Takes the descriptor over; the caller has counted the connection in. */
void client_accept(struct worker *worker, int fd, const struct sockaddr_storage *address);
/* Ends everything of this client at once. Its memory stays until the batch is over. */
void client_close(struct client *client);
/* Goes on with whatever can be done: the next head, the body. */
void client_run(struct client *client);
/* The answer is whole (it may still wait in the output): counts and logs, then takes the next request or closes. */
void client_finish(struct client *client);
/* After the answer: sends what waits, throws input away for at most two seconds, closes. */
void client_close_gently(struct client *client);

/* Input not used yet. */
struct str client_input(const struct client *client);
void client_consume(struct client *client, size_t len);
/* Copies what is left of the scratch buffer into `in`; before anything else reads into the scratch buffer. False: no
 * memory, the client is closed. */
bool client_settle(struct client *client);
/* Reads once. > 0: there is new input; else as stream_read(), and STREAM_AGAIN when `in` is full. */
ssize_t client_read(struct client *client) MUST_CHECK;
/* Parses the head at the front of the input again into worker->request and worker->match. */
void client_parse_again(struct client *client);
/* Sleeps for the bound letter, at most until the deadline; then `late` answers. */
void client_sleep(struct client *client, int64_t deadline_ms, void (*late)(struct client *client));
/* What follows the head. */
struct str client_body_input(const struct client *client);
/* The guest side of the request is over: releases upstream and lane. `reusable`: the connection may go back. */
void client_release_upstream(struct client *client, bool reusable);
/* Gives up a letter that is under way. */
void client_forget_letter(struct client *client);
/* A worker in draining closes what has no request. */
void client_drain(struct client *client);

#endif
