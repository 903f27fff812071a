/* What listings, events and answers to our own calls do to the picture, in the orders in which they can come. No API server is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "backend/resource/parts.h"
#include "base/json.h"

static struct resource *resource;

static void do_nothing(struct workitem *item, void *context) { (void)item, (void)context; }

static int begin(void **state)
{
    resource = xcalloc(1, sizeof *resource);
    (void)pthread_mutex_init(&resource->lock, NULL);
    (void)pthread_cond_init(&resource->changed, NULL);
    resource->queue = workqueue_new("test", 1, do_nothing, NULL);
    for (unsigned kind = 0; kind < RESOURCE_KINDS; kind++)
        resource->watchers[kind] = (struct watcher){ .resource = resource, .kind = kind };
    return 0;
}

static void free_entry(void *entry) { entry_free(entry); }

static int end(void **state)
{
    workqueue_free(resource->queue);
    map_free(&resource->entries, free_entry);
    (void)pthread_cond_destroy(&resource->changed);
    (void)pthread_mutex_destroy(&resource->lock);
    free(resource);
    return 0;
}

struct kind_row {
    unsigned kind;
    const char *name;
    uint64_t (*version)(const struct entry *entry);     /* 0: the part is not there */
};

static uint64_t terminal_version(const struct entry *entry) { return entry->present ? entry->version : 0; }
static uint64_t pod_version(const struct entry *entry) { return entry->pod.present ? entry->pod.version : 0; }
static uint64_t service_version(const struct entry *entry) { return entry->service_present ? entry->service_version : 0; }

static const struct kind_row kinds[RESOURCE_KINDS] = {
    { KIND_TERMINALS, "t", terminal_version }, { KIND_PODS, "t-pod", pod_version }, { KIND_SERVICES, "t-svc", service_version },
};

static json_t *object_of(const char *name, const char *uid, const char *version)
{
    return json_pack("{s:{s:s, s:s, s:s, s:{s:s}}}", "metadata", "name", name, "uid", uid, "resourceVersion", version, "labels",
                     LABEL_TERMINAL, "t");
}

static void tell(const struct kind_row *row, const char *uid, const char *version, bool deleted)
{
    cleanup_json json_t *object = object_of(row->name, uid, version);
    resource_watch_handler.object(&resource->watchers[row->kind], object, deleted);
}

static void list_begin(const struct kind_row *row) { resource_watch_handler.listing_begin(&resource->watchers[row->kind]); }
static void list_end(const struct kind_row *row) { resource_watch_handler.listing_end(&resource->watchers[row->kind]); }

static uint64_t seen(const struct kind_row *row) { return row->version(picture_find(resource, "t")); }

static void a_listing_that_began_later_outranks_higher_versions(void **state)
{
    for (const struct kind_row *row = kinds; row < kinds + RESOURCE_KINDS; row++) {
        list_begin(row);
        tell(row, "a", "5000", false);
        list_end(row);
        list_begin(row);
        tell(row, "b", "900", false);
        list_end(row);
        assert_int_equal(seen(row), 900);
        tell(row, "b", "905", false);
        assert_int_equal(seen(row), 905);
        tell(row, "b", "901", false);
        assert_int_equal(seen(row), 905);
    }
}

static void what_was_gone_before_the_store_was_put_back_can_be_made_again(void **state)
{
    for (const struct kind_row *row = kinds; row < kinds + RESOURCE_KINDS; row++) {
        list_begin(row);
        tell(row, "a", "5000", false);
        list_end(row);
        tell(row, "a", "5010", true);
        list_begin(row);
        list_end(row);
        tell(row, "b", "905", false);
        assert_int_equal(seen(row), 905);
    }
}

static void what_a_listing_did_not_have_can_be_made_again(void **state)
{
    for (const struct kind_row *row = kinds; row < kinds + RESOURCE_KINDS; row++) {
        list_begin(row);
        tell(row, "a", "5000", false);
        list_end(row);
        list_begin(row);
        list_end(row);
        assert_int_equal(seen(row), 0);
        tell(row, "b", "905", false);
        assert_int_equal(seen(row), 905);
    }
}

static void answer(const char *version)
{
    cleanup_json json_t *object = object_of("t", "a", version);
    picture_take(resource, object);
}

static void neither_old_events_nor_earlier_listings_overtake_an_answer(void **state)
{
    const struct kind_row *row = &kinds[KIND_TERMINALS];
    list_begin(row);
    tell(row, "a", "10", false);
    list_end(row);
    answer("20");
    tell(row, "a", "15", false);
    assert_int_equal(seen(row), 20);
    list_begin(row);
    answer("30");
    tell(row, "a", "20", false);
    list_end(row);
    assert_int_equal(seen(row), 30);
}

static void what_was_made_while_a_listing_ran_is_not_gone_by_it(void **state)
{
    const struct kind_row *row = &kinds[KIND_TERMINALS];
    list_begin(row);
    answer("20");
    list_end(row);
    assert_int_equal(seen(row), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listing_that_began_later_outranks_higher_versions, begin, end),
        cmocka_unit_test_setup_teardown(what_was_gone_before_the_store_was_put_back_can_be_made_again, begin, end),
        cmocka_unit_test_setup_teardown(what_a_listing_did_not_have_can_be_made_again, begin, end),
        cmocka_unit_test_setup_teardown(neither_old_events_nor_earlier_listings_overtake_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(what_was_made_while_a_listing_ran_is_not_gone_by_it, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
