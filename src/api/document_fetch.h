/* Reading the three documents from a guest. Blocks; a guest is a stranger, so its answers are bounded, parsed and written anew. */
#ifndef API_DOCUMENT_FETCH_H
#define API_DOCUMENT_FETCH_H

#include "api/documents.h"

extern const char *const document_names[DOCUMENT_KIND_COUNT];     /* "openapi", "config", "system", as the store calls them */

/* All texts owned by the result; one reference, the caller's. */
struct document *document_new(int status, char *body, int64_t fetched_ms) MUST_CHECK;

/* Fills all of `documents` with new references, or none. `cancelled` is polled and ends the call early. */
int documents_fetch(const struct route *route, struct document *documents[DOCUMENT_KIND_COUNT], bool (*cancelled)(void *context),
                    void *context, struct error *err) MUST_CHECK;

#endif
