/* Ready items are a list; delayed ones a binary heap by due time that a timer thread empties into the list. An item added while it runs
 * is only marked, and goes to the list again when its run ends: so no two threads ever hold the same item. */
#include "base/workqueue.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/pool.h"

enum { FIRST_BACKOFF_MS = 100, LONGEST_BACKOFF_MS = 60000, IDLE_SECONDS = 10 };

/* Everything, and every item's own fields, is under `lock`. */
struct workqueue {
    const char *name;
    void (*work)(struct workitem *item, void *context);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t ready_waits, delay_changed, item_done, thread_ended;
    struct list ready;
    unsigned depth, threads, idle, max_threads;
    struct workitem **heap;
    size_t heap_count, heap_cap;
    pthread_t timer;
    pthread_t last_ended;           /* to be joined by the next one that ends */
    bool has_ended, stopping;
};

void workitem_init(struct workitem *item)
{
    *item = (struct workitem){ .heap_index = SIZE_MAX };
    list_init(&item->ready);
}

/* --- the heap of delayed items --- */

static void heap_set(struct workqueue *queue, size_t at, struct workitem *item)
{
    queue->heap[at] = item;
    item->heap_index = at;
}

static size_t heap_up(struct workqueue *queue, size_t at)
{
    struct workitem *item = queue->heap[at];
    for (; at > 0 && queue->heap[(at - 1) / 2]->due_ms > item->due_ms; at = (at - 1) / 2)
        heap_set(queue, at, queue->heap[(at - 1) / 2]);
    heap_set(queue, at, item);
    return at;
}

static void heap_down(struct workqueue *queue, size_t at)
{
    struct workitem *item = queue->heap[at];
    for (size_t child; (child = 2 * at + 1) < queue->heap_count; at = child) {
        if (child + 1 < queue->heap_count && queue->heap[child + 1]->due_ms < queue->heap[child]->due_ms)
            child++;
        if (queue->heap[child]->due_ms >= item->due_ms)
            break;
        heap_set(queue, at, queue->heap[child]);
    }
    heap_set(queue, at, item);
}

static void heap_remove(struct workqueue *queue, struct workitem *item)
{
    size_t at = item->heap_index;
    if (at == SIZE_MAX)
        return;
    item->heap_index = SIZE_MAX;
    struct workitem *last = queue->heap[--queue->heap_count];
    if (last == item)
        return;
    heap_set(queue, at, last);
    heap_down(queue, heap_up(queue, at));
}

static void heap_insert(struct workqueue *queue, struct workitem *item)
{
    if (queue->heap_count == queue->heap_cap) {
        queue->heap_cap = queue->heap_cap ? queue->heap_cap * 2 : 64;
        queue->heap = xrealloc(queue->heap, queue->heap_cap * sizeof *queue->heap);
    }
    queue->heap[queue->heap_count++] = item;
    heap_up(queue, queue->heap_count - 1);
}

/* --- running --- */

static void *work_thread(void *argument);

static void add_ready(struct workqueue *queue, struct workitem *item)
{
    heap_remove(queue, item);
    if (item->queued || queue->stopping)
        return;
    if (item->running) {
        item->again = true;
        return;
    }
    item->queued = true;
    list_append(&queue->ready, &item->ready);
    queue->depth++;
    if (queue->depth > queue->idle && queue->threads < queue->max_threads) {
        queue->threads++;
        thread_start(queue->name, work_thread, queue);
    }
    pthread_cond_signal(&queue->ready_waits);
}

static void end_run(struct workqueue *queue, struct workitem *item)
{
    item->running = false;
    if (item->again) {
        item->again = false;
        add_ready(queue, item);
    }
    pthread_cond_broadcast(&queue->item_done);
}

/* Under the lock: the next item, or NULL when this thread should end. */
static struct workitem *wait_for_item(struct workqueue *queue)
{
    struct timespec until = clock_deadline(IDLE_SECONDS * 1000);
    while (list_is_empty(&queue->ready) && !queue->stopping) {
        queue->idle++;
        int number = pthread_cond_timedwait(&queue->ready_waits, &queue->lock, &until);
        queue->idle--;
        if (number != 0 && list_is_empty(&queue->ready))
            return NULL;
    }
    if (queue->stopping)
        return NULL;
    struct workitem *item = LIST_ENTRY(list_first(&queue->ready), struct workitem, ready);
    list_remove(&item->ready);
    queue->depth--;
    item->queued = false;
    item->running = true;
    return item;
}

/* Under the lock, which it gives up: a thread that ends joins the one that ended before it, and workqueue_free() the last. */
static void end_thread(struct workqueue *queue)
{
    bool join = queue->has_ended;
    pthread_t before = queue->last_ended;

    queue->last_ended = pthread_self();
    queue->has_ended = true;
    queue->threads--;
    pthread_cond_broadcast(&queue->thread_ended);
    pthread_mutex_unlock(&queue->lock);
    if (join)
        pthread_join(before, NULL);
}

static void *work_thread(void *argument)
{
    struct workqueue *queue = argument;
    pthread_mutex_lock(&queue->lock);
    struct workitem *item;
    while ((item = wait_for_item(queue))) {
        pthread_mutex_unlock(&queue->lock);
        queue->work(item, queue->context);
        pthread_mutex_lock(&queue->lock);
        end_run(queue, item);
    }
    end_thread(queue);
    return NULL;
}

static void *timer_thread(void *argument)
{
    struct workqueue *queue = argument;
    pthread_mutex_lock(&queue->lock);
    while (!queue->stopping) {
        int64_t now = clock_monotonic_ms();
        while (queue->heap_count > 0 && queue->heap[0]->due_ms <= now)
            add_ready(queue, queue->heap[0]);
        if (queue->heap_count == 0) {
            pthread_cond_wait(&queue->delay_changed, &queue->lock);
            continue;
        }
        struct timespec until = clock_deadline(queue->heap[0]->due_ms - now);
        pthread_cond_timedwait(&queue->delay_changed, &queue->lock, &until);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

struct workqueue *workqueue_new(const char *name, unsigned threads, void (*work)(struct workitem *item, void *context),
                                void *context)
{
    struct workqueue *queue = xcalloc(1, sizeof *queue);
    queue->name = name;
    queue->work = work;
    queue->context = context;
    queue->max_threads = threads;
    list_init(&queue->ready);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->ready_waits, &monotonic);
    pthread_cond_init(&queue->delay_changed, &monotonic);
    pthread_cond_init(&queue->item_done, NULL);
    pthread_cond_init(&queue->thread_ended, NULL);
    pthread_condattr_destroy(&monotonic);
    queue->timer = thread_start(name, timer_thread, queue);
    return queue;
}

void workqueue_add(struct workqueue *queue, struct workitem *item)
{
    pthread_mutex_lock(&queue->lock);
    add_ready(queue, item);
    pthread_mutex_unlock(&queue->lock);
}

static void add_delayed(struct workqueue *queue, struct workitem *item, int64_t delay_ms)
{
    int64_t due_ms = clock_monotonic_ms() + delay_ms;
    if (queue->stopping || item->queued || (item->heap_index != SIZE_MAX && item->due_ms <= due_ms))
        return;
    heap_remove(queue, item);
    item->due_ms = due_ms;
    heap_insert(queue, item);
    pthread_cond_signal(&queue->delay_changed);
}

void workqueue_add_after(struct workqueue *queue, struct workitem *item, int64_t delay_ms)
{
    pthread_mutex_lock(&queue->lock);
    if (delay_ms <= 0)
        add_ready(queue, item);
    else
        add_delayed(queue, item, delay_ms);
    pthread_mutex_unlock(&queue->lock);
}

void workqueue_add_after_failure(struct workqueue *queue, struct workitem *item)
{
    pthread_mutex_lock(&queue->lock);
    int64_t delay_ms = item->failures >= 10 ? LONGEST_BACKOFF_MS : (int64_t)FIRST_BACKOFF_MS << item->failures;
    if (delay_ms > LONGEST_BACKOFF_MS)
        delay_ms = LONGEST_BACKOFF_MS;
    item->failures++;
    add_delayed(queue, item, delay_ms);
    pthread_mutex_unlock(&queue->lock);
}

void workqueue_forget_failures(struct workqueue *queue, struct workitem *item)
{
    pthread_mutex_lock(&queue->lock);
    item->failures = 0;
    pthread_mutex_unlock(&queue->lock);
}

void workqueue_remove(struct workqueue *queue, struct workitem *item)
{
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        heap_remove(queue, item);
        item->again = false;
        if (item->queued) {
            list_remove(&item->ready);
            item->queued = false;
            queue->depth--;
        }
        if (!item->running)
            break;
        pthread_cond_wait(&queue->item_done, &queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
}

unsigned workqueue_depth(struct workqueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    unsigned depth = queue->depth;
    pthread_mutex_unlock(&queue->lock);
    return depth;
}

void workqueue_free(struct workqueue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_broadcast(&queue->ready_waits);
    pthread_cond_broadcast(&queue->delay_changed);
    while (queue->threads > 0)
        pthread_cond_wait(&queue->thread_ended, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
    if (queue->has_ended)
        pthread_join(queue->last_ended, NULL);
    pthread_join(queue->timer, NULL);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->ready_waits);
    pthread_cond_destroy(&queue->delay_changed);
    pthread_cond_destroy(&queue->item_done);
    pthread_cond_destroy(&queue->thread_ended);
    free(queue->heap);
    free(queue);
}
