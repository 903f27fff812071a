/* Work that a client sleeps for: done elsewhere, answered through the worker's mailbox. The letter outlives the client: one that has
 * gone leaves NULL behind, and the answer is dropped. */
#ifndef GATEWAY_LETTER_H
#define GATEWAY_LETTER_H

#include "gateway/client.h"

struct letter {
    struct mail mail;
    struct mailbox *mailbox;        /* counted */
    struct client *client;          /* the worker's own; NULL: nobody waits any more */
    /* Pool thread; may be NULL for letters that do not come from the pool. */
    void (*work)(struct letter *letter);
    /* Worker: the client waits; its head, where it is still needed, is parsed again. client_run() follows. */
    void (*arrived)(struct letter *letter, struct client *client);
    /* Worker: nobody waits. May be NULL. */
    void (*unwanted)(struct letter *letter, struct worker *worker);
    /* Frees what the letter owns, not the letter. */
    void (*clear)(struct letter *letter);
};

/* A zeroed object of `size` bytes that begins with a struct letter; NULL: no memory. */
void *letter_new(struct worker *worker, size_t size) MUST_CHECK;
/* Frees a letter that was not sent. */
void letter_free(struct letter *letter);
/* Puts the client to sleep for it. */
void letter_bind(struct letter *letter, struct client *client);
/* Hands it to the pool. False when the pool is full; the letter is freed and the client unbound. */
bool letter_submit(struct letter *letter, struct pool *pool) MUST_CHECK;
/* Any thread: into the worker's mailbox. */
void letter_post(struct letter *letter);

#endif
