/* Cached guest documents: the OpenAPI spec, /api/config and /system of each (policy, image), served without a user and
 * to passive callers whose terminal does not run (orchestrator.md §2.5). Memory first, then the database, then a guest. */
#ifndef API_DOCUMENTS_H
#define API_DOCUMENTS_H

#include "fleet/fleet.h"

enum document_kind { DOCUMENT_OPENAPI, DOCUMENT_CONFIG, DOCUMENT_SYSTEM, DOCUMENT_KIND_COUNT };

struct documents;

struct documents *documents_new(struct store *store, struct policies *policies, struct fleet *fleet) MUST_CHECK;
void documents_free(struct documents *documents);

/* An immutable, counted answer of a guest, ready to be sent. */
struct document {
    _Atomic unsigned references;
    int status;                         /* 200, or what the guest said, such as 404 for /system when disabled */
    char *content_type;
    char *body;
    size_t len;
    int64_t fetched_ms;                 /* monotonic */
};
void document_unref(struct document *document);

/* From memory, never blocks: a new reference, or NULL. `*stale` tells that it is older than 300 s, or than the policy, and should be
 * refreshed by documents_obtain() in the background while the old one is served. */
struct document *documents_peek(struct documents *documents, enum document_kind kind, const char *policy_id, bool *stale) MUST_CHECK;
/* Blocks until `deadline_ms`: from memory, the database, a running terminal of the policy, or, when `may_start`, one started for user `system`
 * and stopped again afterwards. Concurrent callers share one fetch. NULL with the reason on failure. */
struct document *documents_obtain(struct documents *documents, enum document_kind kind, const char *policy_id, bool may_start,
                                  int64_t deadline_ms, struct error *err) MUST_CHECK;

#endif
