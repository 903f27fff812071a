/* The timer wheel: never early, at most a tick late, whatever is moved about. */
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "gateway/timer.h"

static struct timers timers;
static int64_t now_ms;

struct probe {
    struct timer timer;
    int64_t fired_ms;
    int times;
};

static void fired(struct timer *timer)
{
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    probe->fired_ms = now_ms;
    probe->times++;
}

/* Sleeps as a worker does: as long as the wheel says. */
static void run_until(int64_t end_ms)
{
    while (now_ms < end_ms) {
        int wait = timers_wait_ms(&timers, now_ms);
        now_ms = wait < 0 || now_ms + wait > end_ms ? end_ms : now_ms + wait;
        timers_run(&timers, now_ms);
    }
}

static int set_up(void **state)
{
    now_ms = 1000003;
    timers_init(&timers, now_ms);
    return 0;
}

static void each_fires_once_and_in_time(void **state)
{
    static const int64_t delays[] = { 0, 1, 127, 128, 129, 1000, 4000, 75000, 360000, 524000, 600000, 3600000 };
    struct probe probes[COUNT_OF(delays)] = { 0 };
    int64_t began = now_ms;
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        timer_init(&probes[i].timer, fired);
        timer_set(&timers, &probes[i].timer, began + delays[i]);
    }
    run_until(began + 4000000);
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        assert_int_equal(probes[i].times, 1);
        assert_in_range(probes[i].fired_ms - began, delays[i], delays[i] + 2 * TIMER_TICK_MS);
    }
    assert_int_equal(timers_wait_ms(&timers, now_ms), -1);
}

static void moving_and_clearing(void **state)
{
    struct probe later = { 0 }, sooner = { 0 }, cleared = { 0 }, removed = { 0 };
    int64_t began = now_ms;
    struct probe *all[] = { &later, &sooner, &cleared, &removed };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        timer_init(&all[i]->timer, fired);
        timer_set(&timers, &all[i]->timer, began + 5000);
    }
    timer_set(&timers, &later.timer, began + 20000);
    timer_set(&timers, &sooner.timer, began + 1000);
    timer_clear(&cleared.timer);
    timer_remove(&removed.timer);
    run_until(began + 30000);
    assert_in_range(later.fired_ms - began, 20000, 20000 + 2 * TIMER_TICK_MS);
    assert_in_range(sooner.fired_ms - began, 1000, 1000 + 2 * TIMER_TICK_MS);
    assert_int_equal(later.times + sooner.times, 2);
    assert_int_equal(cleared.times + removed.times, 0);
}

static void long_sleep_loses_nothing(void **state)
{
    struct probe probe = { 0 };
    timer_init(&probe.timer, fired);
    timer_set(&timers, &probe.timer, now_ms + 3000);
    now_ms += 10000000;
    timers_run(&timers, now_ms);
    assert_int_equal(probe.times, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_fires_once_and_in_time, set_up),
        cmocka_unit_test_setup(moving_and_clearing, set_up),
        cmocka_unit_test_setup(long_sleep_loses_nothing, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
