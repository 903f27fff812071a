/* Finding the documents of one policy somewhere: in the database, in a guest that runs, in one that is started for it. Blocks for as
 * long as that takes; runs on the cache's own threads. */
#ifndef API_DOCUMENT_JOB_H
#define API_DOCUMENT_JOB_H

#include "api/documents.h"

struct document_job {
    struct store *store;
    struct fleet *fleet;
    const _Atomic bool *closing;        /* ends the job early */
    const char *policy_id, *image;
    bool may_start;                     /* a terminal for user `system` */
    bool look_in_store;
};

/* Fills all of `documents` with new references, or none. `*fetched`: a guest gave them, so that there is something to keep. ERR_NOT_FOUND: no
 * terminal of the policy runs and none may be started. */
int document_job_run(const struct document_job *job, struct document *documents[DOCUMENT_KIND_COUNT], bool *fetched, struct error *err)
    MUST_CHECK;
/* Writes fetched documents into the database, which may be locked for seconds: nobody should wait for it. One that cannot be written
 * costs a fetch after the next restart, nothing else. */
void document_job_keep(const struct document_job *job, struct document *const documents[DOCUMENT_KIND_COUNT]);

#endif
