/* A document in memory is served at once, a stale one too, while a letter without a client has it fetched anew. A miss puts the client to
 * sleep. */
#include "base/log.h"
#include "gateway/answer.h"
#include "gateway/documents.h"
#include "gateway/letter.h"

/* Open WebUI waits 10 s for the spec, and 3 s for config and prompt together. */
#define SPEC_MS 9000
#define PROMPT_MS 2800
/* A refresh that nobody waits for may take as long as a start does. */
#define REFRESH_MS 120000

struct document_letter {
    struct letter letter;
    struct documents *documents;
    enum document_kind kind;
    char *policy_id;
    bool may_start;
    int64_t deadline_ms;
    struct document *document;
    struct error err;
};

static void document_work(struct letter *letter)
{
    struct document_letter *wanted = (struct document_letter *)letter;
    wanted->document = documents_obtain(wanted->documents, wanted->kind, wanted->policy_id, wanted->may_start, wanted->deadline_ms,
                                        &wanted->err);
}

static void answer_document(struct client *client, const struct document *document)
{
    answer_send(client, &(struct answer){ .status = document->status, .content_type = document->content_type,
                                          .body = str_of(document->body, document->len) });
}

static void answer_failure(struct client *client)
{
    answer_error(client, 502, "Failed to fetch OpenAPI spec from terminal instance", NULL);
}

static void document_arrived(struct letter *letter, struct client *client)
{
    struct document_letter *wanted = (struct document_letter *)letter;
    if (wanted->document)
        answer_document(client, wanted->document);
    else
        answer_failure(client);
}

static void document_clear(struct letter *letter)
{
    struct document_letter *wanted = (struct document_letter *)letter;
    if (wanted->document)
        document_unref(wanted->document);
    free(wanted->policy_id);
}

/* NULL: no memory. */
static struct document_letter *document_letter(struct worker *worker, enum document_kind kind, const char *policy_id, bool may_start,
                                               int64_t patience_ms)
{
    struct document_letter *letter = letter_new(worker, sizeof(*letter));
    if (!letter)
        return NULL;
    letter->letter.work = document_work;
    letter->letter.arrived = document_arrived;
    letter->letter.clear = document_clear;
    letter->documents = worker->options->documents;
    letter->kind = kind;
    letter->policy_id = strdup(policy_id);
    letter->may_start = may_start;
    letter->deadline_ms = worker->now_ms + patience_ms;
    if (letter->policy_id)
        return letter;
    letter_free(&letter->letter);
    return NULL;
}

/* One refresh a second per worker: the other documents have their turn a little later. */
static void refresh(struct worker *worker, enum document_kind kind, const char *policy_id)
{
    if (worker->now_ms < worker->next_refresh_ms)
        return;
    struct document_letter *letter = document_letter(worker, kind, policy_id, false, REFRESH_MS);
    worker->next_refresh_ms = worker->now_ms + 1000;
    if (letter && !letter_submit(&letter->letter, worker->options->document_pool))
        log_warning("a guest's document is not refreshed: the queue is full", LOG_STR("policy", policy_id));
}

void documents_serve(struct client *client, enum document_kind kind, const char *policy_id, bool may_start)
{
    struct worker *worker = client->worker;
    bool stale = false;
    struct document *document = documents_peek(worker->options->documents, kind, policy_id, &stale);

    if (document) {
        answer_document(client, document);
        document_unref(document);
        if (stale)
            refresh(worker, kind, policy_id);
        return;
    }
    int64_t patience_ms = kind == DOCUMENT_OPENAPI ? SPEC_MS : PROMPT_MS;
    struct document_letter *letter = document_letter(worker, kind, policy_id, may_start, patience_ms);
    if (!letter) {
        answer_failure(client);
        return;
    }
    letter_bind(&letter->letter, client);
    client_sleep(client, worker->now_ms + patience_ms + 300, answer_failure);
    if (!letter_submit(&letter->letter, worker->options->document_pool))
        answer_failure(client);
}
