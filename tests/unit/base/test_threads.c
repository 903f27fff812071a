/* pool, mailbox and work queue under several threads; meant for TSan too. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/workqueue.h"

static _Atomic int done;

static void count_one(void *argument) { atomic_fetch_add((_Atomic int *)argument, 1); }

static void a_pool_does_all_work_before_it_ends(void **state)
{
    atomic_store(&done, 0);
    struct pool *pool = pool_new("test", 4);
    for (int i = 0; i < 1000; i++)
        assert_true(pool_submit(pool, count_one, &done));
    pool_free(pool);
    assert_int_equal(atomic_load(&done), 1000);
}

struct letter {
    struct mail mail;
    int from, number;
};

struct reader {
    int last[4], count;
};

static _Atomic int discarded;

static void deliver(struct mail *mail, void *reader_pointer)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    struct reader *reader = reader_pointer;
    assert_int_equal(letter->number, reader->last[letter->from] + 1);
    reader->last[letter->from] = letter->number;
    reader->count++;
    free(letter);
}

static void discard(struct mail *mail)
{
    atomic_fetch_add(&discarded, 1);
    free(CONTAINER_OF(mail, struct letter, mail));
}

struct poster {
    struct mailbox *mailbox;
    int number;
};

static void *post_many(void *argument)
{
    struct poster *poster = argument;
    for (int i = 1; i <= 5000; i++) {
        struct letter *letter = xcalloc(1, sizeof *letter);
        *letter = (struct letter){ { NULL, deliver, discard }, poster->number, i };
        mailbox_post(poster->mailbox, &letter->mail);
    }
    return NULL;
}

static void mail_arrives_once_and_in_each_senders_order(void **state)
{
    struct mailbox *mailbox = mailbox_new();
    struct reader reader = { 0 };
    struct poster posters[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        posters[i] = (struct poster){ mailbox, i };
        threads[i] = thread_start("poster", post_many, &posters[i]);
    }
    while (reader.count < 20000) {
        struct pollfd wait = { .fd = mailbox_fd(mailbox), .events = POLLIN };
        assert_int_equal(poll(&wait, 1, 5000), 1);
        mailbox_deliver(mailbox, &reader);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    mailbox_unref(mailbox);
}

static void mail_to_a_closed_box_is_discarded(void **state)
{
    atomic_store(&discarded, 0);
    struct mailbox *mailbox = mailbox_new();
    struct poster poster = { mailbox, 0 };
    post_many(&poster);
    mailbox_close(mailbox);
    post_many(&poster);
    assert_int_equal(atomic_load(&discarded), 10000);
    mailbox_unref(mailbox);
}

struct thing {
    struct workitem item;
    _Atomic int runs, inside;
};

static void run_thing(struct workitem *item, void *context)
{
    struct thing *thing = CONTAINER_OF(item, struct thing, item);
    assert_int_equal(atomic_fetch_add(&thing->inside, 1), 0);
    usleep(100);
    atomic_fetch_add(&thing->runs, 1);
    atomic_fetch_sub(&thing->inside, 1);
}

struct adder {
    struct workqueue *queue;
    struct thing *things;
};

static void *add_many(void *argument)
{
    struct adder *adder = argument;
    for (int i = 0; i < 2000; i++) {
        if (i % 3 == 0)
            workqueue_add_after(adder->queue, &adder->things[i % 8].item, i % 5);
        else
            workqueue_add(adder->queue, &adder->things[i % 8].item);
    }
    return NULL;
}

static void an_item_is_on_one_thread_at_a_time_and_runs_after_each_add(void **state)
{
    static struct thing things[8];
    struct workqueue *queue = workqueue_new("test", 4, run_thing, NULL);
    for (size_t i = 0; i < COUNT_OF(things); i++)
        workitem_init(&things[i].item);
    struct adder adder = { queue, things };
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = thread_start("adder", add_many, &adder);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int before[8];
    for (size_t i = 0; i < COUNT_OF(things); i++)
        before[i] = atomic_load(&things[i].runs);
    for (size_t i = 0; i < COUNT_OF(things); i++)
        workqueue_add(queue, &things[i].item);
    int64_t deadline = clock_monotonic_ms() + 5000;
    for (size_t i = 0; i < COUNT_OF(things); i++)
        while (atomic_load(&things[i].runs) == before[i] && clock_monotonic_ms() < deadline)
            usleep(1000);
    for (size_t i = 0; i < COUNT_OF(things); i++) {
        assert_true(atomic_load(&things[i].runs) > before[i]);
        workqueue_remove(queue, &things[i].item);
    }
    workqueue_free(queue);
}

static void back_off_doubles(void **state)
{
    static struct thing thing;
    struct workqueue *queue = workqueue_new("test", 1, run_thing, NULL);
    workitem_init(&thing.item);
    int64_t begin = clock_monotonic_ms();
    for (int expected = 1; expected <= 3; expected++) {
        workqueue_add_after_failure(queue, &thing.item);
        while (atomic_load(&thing.runs) < expected)
            usleep(1000);
    }
    assert_true(clock_monotonic_ms() - begin >= 100 + 200 + 400);
    workqueue_remove(queue, &thing.item);
    workqueue_free(queue);
}

static void metrics_of_one_name_are_summed(void **state)
{
    static const double bounds[] = { 0.1, 1 };
    struct metric *a = metric_counter("test_total", "A test.", "kind=\"x\""), *b = metric_counter("test_total", "A test.", "kind=\"x\"");
    struct metric *h = metric_histogram("test_seconds", "A test.", NULL, bounds, 2);
    metric_add(a, 2);
    metric_add(b, 3);
    metric_observe_us(h, 50000);
    metric_observe_us(h, 5000000);
    struct buf out = { 0 };
    metrics_render(&out);
    char *text = buf_take(&out);
    assert_non_null(strstr(text, "# TYPE test_total counter\ntest_total{kind=\"x\"} 5\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.1\"} 1\ntest_seconds_bucket{le=\"1\"} 1\ntest_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(text, "test_seconds_sum 5.050000\ntest_seconds_count 2\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_does_all_work_before_it_ends),
        cmocka_unit_test(mail_arrives_once_and_in_each_senders_order),
        cmocka_unit_test(mail_to_a_closed_box_is_discarded),
        cmocka_unit_test(an_item_is_on_one_thread_at_a_time_and_runs_after_each_add),
        cmocka_unit_test(back_off_doubles),
        cmocka_unit_test(metrics_of_one_name_are_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
