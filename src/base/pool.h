/* A pool of threads for blocking work. Threads are made when work waits and none is free, up to a limit, and end
 * after some idle seconds. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/defs.h"

struct pool;

/* `name` (shown in thread lists, ≤ 15 characters) must outlive the pool. */
struct pool *pool_new(const char *name, unsigned max_threads) MUST_CHECK;
/* Runs `work(argument)` on a thread of the pool, in order of submission. False when the queue is longer than the
 * pool's limit (10 000) or it is stopping: then `work` is not called. Any thread; does not block. */
bool pool_submit(struct pool *pool, void (*work)(void *argument), void *argument) MUST_CHECK;
/* How many pieces of work wait. */
unsigned pool_depth(struct pool *pool);
/* Waits until all submitted work is done, then frees the pool. */
void pool_free(struct pool *pool);

/* Starts a thread with a name and a small stack (256 KiB), all signals blocked. Ends the process on failure. */
#include <pthread.h>
pthread_t thread_start(const char *name, void *(*run)(void *argument), void *argument);

#endif
