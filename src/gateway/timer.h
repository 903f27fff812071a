/* Deadlines of a worker: a wheel of 4096 slots of 128 ms. Moving a deadline further away costs one store: the timer stays in
 * its slot, and is put where it belongs when the slot comes round. One owner, no locking. */
#ifndef GATEWAY_TIMER_H
#define GATEWAY_TIMER_H

#include "base/list.h"

#define TIMER_SLOTS 4096u
#define TIMER_TICK_MS 128

struct timer {
    struct list node;               /* in its slot; points at itself when in none */
    int64_t deadline_ms;            /* monotonic; 0: none */
    int64_t tick;                   /* of the slot that it is in */
    void (*fire)(struct timer *timer);      /* may free the timer */
};

struct timers {
    struct list slots[TIMER_SLOTS];
    uint64_t occupied[TIMER_SLOTS / 64];    /* a set bit may belong to an empty slot, never the reverse */
    int64_t done;                           /* ticks up to this one have been run */
};

void timers_init(struct timers *timers, int64_t now_ms);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));
/* Fires at `deadline_ms` or up to one tick later, never before. */
void timer_set(struct timers *timers, struct timer *timer, int64_t deadline_ms);
/* No deadline any more; cheap, the timer may stay in its slot. */
static inline void timer_clear(struct timer *timer) { timer->deadline_ms = 0; }
/* Out of the wheel: to be called before the timer's memory goes away. */
void timer_remove(struct timer *timer);
/* Milliseconds until there may be something to do; -1: nothing is set. */
int timers_wait_ms(const struct timers *timers, int64_t now_ms);
/* Fires what is due. */
void timers_run(struct timers *timers, int64_t now_ms);

#endif
