/* Serves guests' documents from their cache (orchestrator.md §2.5). Worker's thread. */
#ifndef GATEWAY_DOCUMENTS_H
#define GATEWAY_DOCUMENTS_H

#include "gateway/client.h"

/* Answers from memory, or sleeps while the document is fetched. `may_start`: a terminal may be started for it. */
void documents_serve(struct client *client, enum document_kind kind, const char *policy_id, bool may_start);

#endif
