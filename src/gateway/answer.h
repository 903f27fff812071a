/* Answers of our own: documents, JSON errors, preflights. Each ends the request: client_finish() is called. Worker's thread. */
#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include "gateway/client.h"

struct answer {
    int status;
    const char *content_type;       /* NULL: no body */
    struct str body;
    const char *allow;              /* or NULL */
    const char *headers;            /* further complete lines, or NULL */
    unsigned retry_after_s;         /* 0: none */
};

void answer_send(struct client *client, const struct answer *answer);
/* A literal JSON text. */
void answer_json(struct client *client, int status, const char *json);
/* {"detail": text} */
void answer_detail(struct client *client, int status, const char *text);
/* {"error": text} or {"error": text, "reason": reason}; with a Retry-After when the status is 503. */
void answer_error(struct client *client, int status, const char *text, const char *reason);
/* An error of the fleet. */
void answer_fleet_error(struct client *client, const struct error *err);
/* Appends the text as a JSON string; bytes that are not UTF-8 become '?'. */
void append_json_string(struct buf *out, struct str text);
/* Appends the status line and what every response carries: X-Request-Id, Connection, CORS. */
void append_response_start(struct buf *out, const struct client *client, int status, struct str reason);

#endif
