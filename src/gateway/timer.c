/* The wheel. A slot holds timers of one tick only, because nothing is put further ahead than one turn: what is due later
 * waits in the furthest slot and is moved on from there. */
#include "gateway/timer.h"

void timers_init(struct timers *timers, int64_t now_ms)
{
    for (size_t i = 0; i < TIMER_SLOTS; i++)
        list_init(&timers->slots[i]);
    memset(timers->occupied, 0, sizeof(timers->occupied));
    timers->done = now_ms / TIMER_TICK_MS;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    list_init(&timer->node);
    timer->deadline_ms = 0;
    timer->tick = 0;
    timer->fire = fire;
}

static bool timer_is_placed(const struct timer *timer)
{
    return timer->node.next != &timer->node;
}

static void timer_place(struct timers *timers, struct timer *timer, int64_t tick)
{
    if (tick <= timers->done)
        tick = timers->done + 1;
    if (tick > timers->done + (int64_t)TIMER_SLOTS - 1)
        tick = timers->done + (int64_t)TIMER_SLOTS - 1;
    size_t slot = (size_t)tick % TIMER_SLOTS;
    timer->tick = tick;
    list_append(&timers->slots[slot], &timer->node);
    timers->occupied[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static int64_t tick_of(int64_t deadline_ms)
{
    return (deadline_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS;
}

void timer_set(struct timers *timers, struct timer *timer, int64_t deadline_ms)
{
    int64_t tick = tick_of(deadline_ms);
    timer->deadline_ms = deadline_ms;
    if (timer_is_placed(timer)) {
        if (timer->tick <= tick)
            return;
        list_remove(&timer->node);
    }
    timer_place(timers, timer, tick);
}

void timer_remove(struct timer *timer)
{
    timer->deadline_ms = 0;
    list_remove(&timer->node);
}

int timers_wait_ms(const struct timers *timers, int64_t now_ms)
{
    size_t first = (size_t)(timers->done + 1) % TIMER_SLOTS;
    for (size_t step = 0; step <= TIMER_SLOTS / 64; step++) {
        size_t word = (first / 64 + step) % (TIMER_SLOTS / 64);
        uint64_t bits = timers->occupied[word];
        if (step == 0)
            bits &= ~UINT64_C(0) << (first % 64);
        if (bits == 0)
            continue;
        size_t slot = word * 64 + (size_t)__builtin_ctzll(bits);
        size_t ahead = (slot + TIMER_SLOTS - first) % TIMER_SLOTS;
        int64_t due_ms = (timers->done + 1 + (int64_t)ahead) * TIMER_TICK_MS;
        return due_ms <= now_ms ? 0 : (int)(due_ms - now_ms);
    }
    return -1;
}

static void run_slot(struct timers *timers, size_t slot, int64_t now_ms)
{
    struct list due = LIST_INIT(due);

    timers->occupied[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    for (struct list *node; (node = list_first(&timers->slots[slot])) != NULL; ) {
        list_remove(node);
        list_append(&due, node);
    }
    for (struct list *node; (node = list_first(&due)) != NULL; ) {
        struct timer *timer = LIST_ENTRY(node, struct timer, node);
        list_remove(node);
        if (timer->deadline_ms == 0)
            continue;
        if (timer->deadline_ms > now_ms) {
            timer_place(timers, timer, tick_of(timer->deadline_ms));
            continue;
        }
        timer->deadline_ms = 0;
        timer->fire(timer);
    }
}

void timers_run(struct timers *timers, int64_t now_ms)
{
    int64_t until = now_ms / TIMER_TICK_MS;
    /* After a long sleep one turn of the wheel sees every slot. */
    if (until - timers->done > (int64_t)TIMER_SLOTS)
        timers->done = until - (int64_t)TIMER_SLOTS;
    while (timers->done < until) {
        timers->done++;
        size_t slot = (size_t)timers->done % TIMER_SLOTS;
        if (timers->occupied[slot / 64] & (UINT64_C(1) << (slot % 64)))
            run_slot(timers, slot, now_ms);
    }
}
