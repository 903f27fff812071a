/* What happens with a request whose head is complete. Worker's thread. */
#ifndef GATEWAY_DISPATCH_H
#define GATEWAY_DISPATCH_H

#include "gateway/client.h"

/* The head is parsed in worker->request and worker->match. Answers, or puts the client into another phase. */
void dispatch_request(struct client *client);
/* Whether the caller may administer; when not, the answer is given. */
bool dispatch_admin(struct client *client) MUST_CHECK;
/* After a failed check of who calls. */
void dispatch_denied(struct client *client, const struct error *err);

#endif
