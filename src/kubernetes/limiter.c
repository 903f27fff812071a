#include "kubernetes/limiter.h"

#include "base/clock.h"

void kube_limiter_init(struct kube_limiter *limiter, double rate, double burst)
{
    *limiter = (struct kube_limiter){ .rate = rate, .burst = burst, .tokens = burst };
    pthread_mutex_init(&limiter->lock, NULL);
}

void kube_limiter_destroy(struct kube_limiter *limiter) { pthread_mutex_destroy(&limiter->lock); }

static void fill(struct kube_limiter *limiter)
{
    int64_t now_us = clock_monotonic_us();

    if (limiter->filled_us)
        limiter->tokens += (double)(now_us - limiter->filled_us) * limiter->rate / 1e6;
    if (limiter->tokens > limiter->burst)
        limiter->tokens = limiter->burst;
    limiter->filled_us = now_us;
}

int64_t kube_limiter_take(struct kube_limiter *limiter, int64_t longest_ms)
{
    int64_t wait_ms = 0;

    pthread_mutex_lock(&limiter->lock);
    fill(limiter);
    if (limiter->tokens < 1)
        wait_ms = (int64_t)((1 - limiter->tokens) * 1000 / limiter->rate) + 1;
    if (wait_ms > longest_ms)
        wait_ms = -1;
    else
        limiter->tokens -= 1;
    pthread_mutex_unlock(&limiter->lock);
    return wait_ms;
}
