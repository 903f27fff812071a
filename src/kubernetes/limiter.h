/* A token bucket: `rate` calls a second on average, `burst` at once. Any thread. Private to kubernetes/. */
#ifndef KUBERNETES_LIMITER_H
#define KUBERNETES_LIMITER_H

#include <pthread.h>

#include "base/defs.h"

struct kube_limiter {
    pthread_mutex_t lock;
    double rate, burst;         /* immutable */
    double tokens;              /* under `lock`; negative: that many calls wait already */
    int64_t filled_us;          /* under `lock`: when `tokens` was right; 0: never */
};

void kube_limiter_init(struct kube_limiter *limiter, double rate, double burst);
void kube_limiter_destroy(struct kube_limiter *limiter);
/* Takes a token and gives the milliseconds to wait before using it; or -1 without taking one, when that would be longer than `longest_ms`. */
int64_t kube_limiter_take(struct kube_limiter *limiter, int64_t longest_ms);

#endif
