/* What listings, events and answers to our own calls do to the records, in the orders in which they can come. No API server is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "operator/internal.h"

static struct operator *operator;
static struct source pods, terminals;

static void do_nothing(struct workitem *item, void *context) { (void)item, (void)context; }

static int begin(void **state)
{
    operator = xcalloc(1, sizeof *operator);
    (void)pthread_mutex_init(&operator->lock, NULL);
    operator->queue = workqueue_new("test", 1, do_nothing, NULL);
    pods = (struct source){ .operator = operator, .kind = KIND_PODS, .namespace = "ns" };
    terminals = (struct source){ .operator = operator, .kind = KIND_TERMINALS, .namespace = "ns" };
    return 0;
}

static int end(void **state)
{
    workqueue_free(operator->queue);
    records_free(operator);
    (void)pthread_mutex_destroy(&operator->lock);
    free(operator);
    return 0;
}

static json_t *object_of(const char *name, const char *uid, const char *version)
{
    return json_pack("{s:{s:s, s:s, s:s, s:s}}", "metadata", "name", name, "namespace", "ns", "uid", uid, "resourceVersion", version);
}

static void tell(struct source *source, json_t *object, bool deleted)
{
    operator_watch_handler.object(source, object, deleted);
    json_decref(object);
}

static void tell_pod(const char *uid, const char *version) { tell(&pods, object_of("t1-pod", uid, version), false); }

static void list_begin(struct source *source) { operator_watch_handler.listing_begin(source); }
static void list_end(struct source *source) { operator_watch_handler.listing_end(source); }

static struct record *record(void)
{
    struct record *record = records_find(operator, "ns", "t1");
    assert_non_null(record);
    return record;
}

/* As record_result() does with what a call was answered. */
static void answer_pod(const char *uid, const char *version)
{
    json_t *object = object_of("t1-pod", uid, version);
    struct record *of = records_find_or_add(operator, "ns", "t1");
    of->pod.child.seen = operator->listings;
    (void)observe_pod(&of->pod, object, false);
    json_decref(object);
}

static void answer_terminal(const char *version)
{
    json_t *object = object_of("t1", "c", version);
    struct job job = { .operator = operator, .record = records_find_or_add(operator, "ns", "t1") };
    job_take_terminal(&job, object);
    json_decref(object);
}

static void a_listing_that_began_later_outranks_higher_versions(void **state)
{
    list_begin(&pods);
    tell_pod("a", "5000");
    list_end(&pods);
    list_begin(&pods);
    tell_pod("b", "900");
    list_end(&pods);
    assert_string_equal(record()->pod.child.uid, "b");
    tell_pod("b", "905");
    assert_int_equal(record()->pod.child.version, 905);
}

static void what_was_gone_before_the_store_was_put_back_can_be_made_again(void **state)
{
    list_begin(&pods);
    tell_pod("a", "5000");
    list_end(&pods);
    tell(&pods, object_of("t1-pod", "a", "5010"), true);
    assert_false(record()->pod.child.present);
    list_begin(&pods);
    list_end(&pods);
    answer_pod("b", "905");
    assert_true(record()->pod.child.present);
    assert_string_equal(record()->pod.child.uid, "b");
}

static void what_a_listing_did_not_have_can_be_made_again(void **state)
{
    list_begin(&pods);
    tell_pod("a", "5000");
    list_end(&pods);
    list_begin(&pods);
    list_end(&pods);
    assert_false(record()->pod.child.present);
    answer_pod("b", "905");
    assert_string_equal(record()->pod.child.uid, "b");
}

static void an_old_event_does_not_overtake_an_answer(void **state)
{
    list_begin(&pods);
    tell_pod("a", "10");
    list_end(&pods);
    answer_pod("b", "20");
    tell_pod("a", "15");
    assert_string_equal(record()->pod.child.uid, "b");
    tell(&pods, object_of("t1-pod", "a", "16"), true);
    assert_true(record()->pod.child.present);
}

static void a_listing_that_began_earlier_does_not_outrank_an_answer(void **state)
{
    list_begin(&pods);
    tell_pod("a", "10");
    list_end(&pods);
    list_begin(&pods);
    answer_pod("b", "20");
    tell_pod("a", "10");
    list_end(&pods);
    assert_string_equal(record()->pod.child.uid, "b");
    assert_true(record()->pod.child.present);
}

static void nor_does_it_one_for_the_resource(void **state)
{
    list_begin(&terminals);
    answer_terminal("20");
    tell(&terminals, object_of("t1", "c", "10"), false);
    list_end(&terminals);
    assert_int_equal(record()->cr.version, 20);
    assert_string_equal(record()->version_text, "20");
}

static json_t *terminal_of_user(const char *version, const char *user)
{
    json_t *object = object_of("t1", "c", version);
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(3));
    json_object_set_new(object, "spec", json_pack("{s:s}", "userId", user));
    return object;
}

static void a_spec_that_was_put_back_is_read_though_its_generation_is_the_same(void **state)
{
    list_begin(&terminals);
    tell(&terminals, terminal_of_user("5000", "u"), false);
    list_end(&terminals);
    list_begin(&terminals);
    tell(&terminals, terminal_of_user("900", "v"), false);
    list_end(&terminals);
    assert_string_equal(record()->user_id, "v");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listing_that_began_later_outranks_higher_versions, begin, end),
        cmocka_unit_test_setup_teardown(what_was_gone_before_the_store_was_put_back_can_be_made_again, begin, end),
        cmocka_unit_test_setup_teardown(what_a_listing_did_not_have_can_be_made_again, begin, end),
        cmocka_unit_test_setup_teardown(an_old_event_does_not_overtake_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(a_listing_that_began_earlier_does_not_outrank_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(nor_does_it_one_for_the_resource, begin, end),
        cmocka_unit_test_setup_teardown(a_spec_that_was_put_back_is_read_though_its_generation_is_the_same, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
