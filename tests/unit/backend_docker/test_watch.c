/* What is told of containers when listings, events and inspections go wrong, or come in an unlucky order. */
#include "scripted_engine.h"

#define OUR_LABEL "'app.kubernetes.io/managed-by':'terminals'"

static void change(struct scripted_engine *engine, size_t index, struct scripted_container container)
{
    pthread_mutex_lock(&engine->lock);
    engine->containers[index] = container;
    pthread_mutex_unlock(&engine->lock);
}

static void a_listing_begins_before_the_engine_is_asked_for_it(void **state)
{
    struct scripted_engine *engine = *state;

    engine->list_fails = 500;
    begin_watch(engine);
    must_tell(engine, "begin\nunreachable");
    must_not_have_told(engine, "end\n");
}

static void a_container_that_cannot_be_described_holds_up_nobody(void **state)
{
    struct scripted_engine *engine = *state;

    engine->containers[0] = (struct scripted_container){ "c0", "broken", "bob", "running", "10.99.0.2", 500 };
    engine->containers[1] = (struct scripted_container){ "c1", "ann", "ann", "running", "10.99.0.3", 0 };
    begin_watch(engine);
    must_tell(engine, "kept broken\nRUNNING ann 10.99.0.3\nend\n");
    must_not_have_told(engine, "unreachable");
}

static void a_proxy_that_refuses_inspections_is_told(void **state)
{
    struct scripted_engine *engine = *state;

    engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", "running", "10.99.0.2", 403 };
    begin_watch(engine);
    must_tell(engine, "unreachable the engine refuses container_inspect");
    must_not_have_told(engine, "end\n");
}

static void a_renamed_container_is_looked_at_by_its_new_name_first(void **state)
{
    struct scripted_engine *engine = *state;

    engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", "running", "10.99.0.2", 0 };
    begin_watch(engine);
    must_tell(engine, "end\n");
    forget_told(engine);
    change(engine, 0, (struct scripted_container){ "c0", "renamed", "ann", "running", "10.99.0.2", 0 });
    send_event(engine, "{'Type':'container','Action':'rename','Actor':{'ID':'c0','Attributes':{'name':'renamed','oldName':'/ann'," OUR_LABEL "}}}");
    must_tell(engine, "RUNNING renamed 10.99.0.2\nABSENT ann\n");
}

static void a_guest_that_changes_networks_is_looked_at(void **state)
{
    struct scripted_engine *engine = *state;

    engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", "running", "10.99.0.2", 0 };
    begin_watch(engine);
    must_tell(engine, "end\n");
    forget_told(engine);
    change(engine, 0, (struct scripted_container){ "c0", "ann", "ann", "running", "", 0 });
    send_event(engine, "{'Type':'network','Action':'disconnect','Actor':{'ID':'n','Attributes':{'container':'c0','name':'n1'}}}");
    must_tell(engine, "ABSENT ann\n");
    change(engine, 0, (struct scripted_container){ "c0", "ann", "ann", "running", "10.99.0.9", 0 });
    send_event(engine, "{'Type':'network','Action':'connect','Actor':{'ID':'n','Attributes':{'container':'c0','name':'n1'}}}");
    must_tell(engine, "RUNNING ann 10.99.0.9\n");
}

static void what_is_not_ours_is_not_inspected_for_an_event(void **state)
{
    static const char *const events[] = {
        "{'Type':'network','Action':'connect','Actor':{'ID':'n','Attributes':{'container':'theirs','name':'n1'}}}",
        "{'Type':'network','Action':'create','Actor':{'ID':'n','Attributes':{'name':'n1'}}}",
        "{'Type':'container','Action':'start','Actor':{'ID':'theirs','Attributes':{'name':'theirs'}}}",
    };
    struct scripted_engine *engine = *state;

    engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", "running", "10.99.0.2", 0 };
    begin_watch(engine);
    must_tell(engine, "end\n");
    forget_told(engine);
    for (size_t i = 0; i < COUNT_OF(events); i++)
        send_event(engine, events[i]);
    send_event(engine, "{'Type':'container','Action':'start','Actor':{'ID':'c0','Attributes':{'name':'ann'," OUR_LABEL "}}}");
    must_tell(engine, "RUNNING ann 10.99.0.2\n");
    pthread_mutex_lock(&engine->lock);
    assert_false(buffer_holds(&engine->asked, "theirs"));
    pthread_mutex_unlock(&engine->lock);
}

static void a_look_wakes_a_paused_guest(void **state)
{
    struct scripted_engine *engine = *state;
    struct terminal_key key = { (char *)"ann", (char *)"default", (char *)"default" };
    struct error err;

    engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", "paused", "10.99.0.2", 0 };
    begin_watch(engine);
    must_tell(engine, "end\n");
    forget_told(engine);
    assert_int_equal(engine->backend->ops->look(engine->backend, &(struct terminal_ref){ .key = &key, .name = "ann" }, &err), 0);
    must_tell(engine, "RUNNING ann 10.99.0.2\n");
    assert_string_equal(engine->containers[0].status, "running");
}

static void a_cut_event_stream_is_no_engine_that_cannot_be_reached(void **state)
{
    struct scripted_engine *engine = *state;

    engine->ends_events = true;
    begin_watch(engine);
    must_tell(engine, "end\nbegin\nreachable\nend\n");
    must_not_have_told(engine, "unreachable");
    pthread_mutex_lock(&engine->lock);
    engine->list_fails = 500;
    pthread_mutex_unlock(&engine->lock);
    must_tell(engine, "begin\nunreachable");
}

static void an_engine_that_refuses_its_events_cannot_be_used(void **state)
{
    struct scripted_engine *engine = *state;

    engine->events_fail = 403;
    begin_watch(engine);
    must_tell(engine, "end\nunreachable the engine refuses events");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, scripted_engine_begin, scripted_engine_end)
    const struct CMUnitTest tests[] = {
        CASE(a_listing_begins_before_the_engine_is_asked_for_it),
        CASE(a_container_that_cannot_be_described_holds_up_nobody),
        CASE(a_proxy_that_refuses_inspections_is_told),
        CASE(a_renamed_container_is_looked_at_by_its_new_name_first),
        CASE(a_guest_that_changes_networks_is_looked_at),
        CASE(what_is_not_ours_is_not_inspected_for_an_event),
        CASE(a_look_wakes_a_paused_guest),
        CASE(a_cut_event_stream_is_no_engine_that_cannot_be_reached),
        CASE(an_engine_that_refuses_its_events_cannot_be_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
