/* A worker's letter box: any thread posts, one thread reads. The reader waits on the descriptor, not on a lock. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/defs.h"

/* Embedded at any place in the letter. `deliver` runs on the reader's thread and owns the letter. After the mailbox
 * was closed, `discard` runs on the poster's thread instead and frees it. */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail, void *reader);
    void (*discard)(struct mail *mail);
};

struct mailbox;

struct mailbox *mailbox_new(void) MUST_CHECK;
struct mailbox *mailbox_ref(struct mailbox *mailbox);
void mailbox_unref(struct mailbox *mailbox);
/* Readable when mail is there (an eventfd, level-triggered). */
int mailbox_fd(const struct mailbox *mailbox);
/* Any thread; never blocks; takes the letter over. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);
/* Reader only: delivers everything posted so far, in order, with `reader` as the second argument. */
void mailbox_deliver(struct mailbox *mailbox, void *reader);
/* Reader only: what is posted from now on, and what is still inside, is discarded. */
void mailbox_close(struct mailbox *mailbox);

#endif
