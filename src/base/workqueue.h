/* A queue of things to reconcile: each item at most once in the queue and on at most one thread at a time; an item
 * added while it is being worked on is worked on again afterwards. Delayed and rate-limited adds. */
#ifndef BASE_WORKQUEUE_H
#define BASE_WORKQUEUE_H

#include "base/list.h"

/* Embedded in the object. Guarded by the queue's lock. Zero-initialise with workitem_init(). */
struct workitem {
    struct list ready;          /* in the ready list */
    size_t heap_index;          /* in the delay heap; SIZE_MAX = not there */
    int64_t due_ms;             /* monotonic */
    bool queued, running, again;
    unsigned failures;          /* for back-off */
};

struct workqueue;

void workitem_init(struct workitem *item);

/* `work` is called on one of at most `threads` threads (made on demand). */
struct workqueue *workqueue_new(const char *name, unsigned threads, void (*work)(struct workitem *item, void *context),
                                void *context) MUST_CHECK;
/* As soon as possible. Any thread, also from inside `work`. */
void workqueue_add(struct workqueue *queue, struct workitem *item);
/* Not later than `delay_ms` from now (an earlier due time stays). */
void workqueue_add_after(struct workqueue *queue, struct workitem *item, int64_t delay_ms);
/* After a back-off that doubles with each call: 100 ms … 60 s. */
void workqueue_add_after_failure(struct workqueue *queue, struct workitem *item);
void workqueue_forget_failures(struct workqueue *queue, struct workitem *item);
/* Takes the item out of the queue and waits while a thread works on it, so that its owner may be freed afterwards.
 * Not from inside `work` for the same item. */
void workqueue_remove(struct workqueue *queue, struct workitem *item);
/* Items that are ready and wait for a thread. */
unsigned workqueue_depth(struct workqueue *queue);
/* Lets running work end, starts nothing more, frees the queue. */
void workqueue_free(struct workqueue *queue);

#endif
