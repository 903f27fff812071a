#include "base/pool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"

enum { LONGEST_QUEUE = 10000, IDLE_SECONDS = 10, STACK_BYTES = 256 * 1024 };

struct pool_job {
    struct pool_job *next;
    void (*work)(void *argument);
    void *argument;
};

/* Everything is under `lock`. */
struct pool {
    const char *name;
    pthread_mutex_t lock;
    pthread_cond_t work_waits, thread_ended;
    struct pool_job *first, **last;
    unsigned waiting, threads, idle, max_threads;
    pthread_t last_ended;           /* to be joined by the next one that ends */
    bool has_ended, stopping;
};

pthread_t thread_start(const char *name, void *(*run)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int number = pthread_create(&thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (number != 0) {
        fprintf(stderr, "terminals: cannot start a thread: %s\n", strerror(number));
        abort();
    }
    (void)pthread_setname_np(thread, name);
    return thread;
}

struct pool *pool_new(const char *name, unsigned max_threads)
{
    struct pool *pool = xcalloc(1, sizeof *pool);
    pool->name = name;
    pool->max_threads = max_threads;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work_waits, &monotonic);
    pthread_cond_init(&pool->thread_ended, NULL);
    pthread_condattr_destroy(&monotonic);
    return pool;
}

/* Under the lock: the next job, or NULL when this thread should end. */
static struct pool_job *wait_for_job(struct pool *pool)
{
    struct timespec until = clock_deadline(IDLE_SECONDS * 1000);
    while (!pool->first && !pool->stopping) {
        pool->idle++;
        int number = pthread_cond_timedwait(&pool->work_waits, &pool->lock, &until);
        pool->idle--;
        if (number == ETIMEDOUT && !pool->first)
            return NULL;
    }
    struct pool_job *job = pool->first;
    if (job) {
        pool->first = job->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->waiting--;
    }
    return job;
}

/* Under the lock, which it gives up: a thread that ends joins the one that ended before it, and pool_free() the last, so that what threads
 * keep for themselves is freed by then. */
static void end_thread(struct pool *pool)
{
    bool join = pool->has_ended;
    pthread_t before = pool->last_ended;

    pool->last_ended = pthread_self();
    pool->has_ended = true;
    pool->threads--;
    pthread_cond_broadcast(&pool->thread_ended);
    pthread_mutex_unlock(&pool->lock);
    if (join)
        pthread_join(before, NULL);
}

static void *pool_thread(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    struct pool_job *job;
    while ((job = wait_for_job(pool))) {
        pthread_mutex_unlock(&pool->lock);
        job->work(job->argument);
        free(job);
        pthread_mutex_lock(&pool->lock);
    }
    end_thread(pool);
    return NULL;
}

bool pool_submit(struct pool *pool, void (*work)(void *argument), void *argument)
{
    struct pool_job *job = malloc(sizeof *job);
    if (!job)
        return false;
    *job = (struct pool_job){ NULL, work, argument };
    pthread_mutex_lock(&pool->lock);
    bool accepted = !pool->stopping && pool->waiting < LONGEST_QUEUE;
    if (accepted) {
        *pool->last = job;
        pool->last = &job->next;
        pool->waiting++;
        if (pool->waiting > pool->idle && pool->threads < pool->max_threads) {
            pool->threads++;
            thread_start(pool->name, pool_thread, pool);
        }
        pthread_cond_signal(&pool->work_waits);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!accepted)
        free(job);
    return accepted;
}

unsigned pool_depth(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned depth = pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    return depth;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work_waits);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->thread_ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    if (pool->has_ended)
        pthread_join(pool->last_ended, NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work_waits);
    pthread_cond_destroy(&pool->thread_ended);
    free(pool);
}
