/* What a stop does to a container that ended, ends, or lives again meanwhile. */
#include "scripted_engine.h"

static void return_at_second_look(struct scripted_engine *engine, struct scripted_container *container)
{
    if (engine->inspections++ == 1)
        container->status = "running";
}

static void return_at_removal(struct scripted_engine *engine, struct scripted_container *container)
{
    if (engine->inspections++ == 0)
        engine->runs_at_removal = container;
}

static const struct {
    const char *name, *status;
    bool ended, just_now;               /* as the stop has it; as the engine has it */
    void (*on_inspect)(struct scripted_engine *engine, struct scripted_container *container);
    const char *told, *asked, *not_asked;
} stops[] = {
    { "one that runs is stopped, then removed by force", "running", false, false, NULL, "STOPPING ann\nABSENT ann\n", "/c0/stop?t=10", NULL },
    { "one that ended is removed without force", "exited", true, false, NULL, "STOPPING ann\nABSENT ann\n", "DELETE /v1.41/containers/c0?v=1\n", "force" },
    { "one that lives again is told as it is, and stays", "running", true, false, NULL, "RUNNING ann 10.99.0.2\n", NULL, "DELETE" },
    { "one that is paused lives", "paused", true, false, NULL, "RUNNING ann 10.99.0.2\n", NULL, "DELETE" },
    { "one that ended just now gets a moment to return", "exited", true, true, return_at_second_look, "RUNNING ann 10.99.0.2\n", NULL, "DELETE" },
    { "one that returns at the last moment is not removed", "exited", true, false, return_at_removal, "RUNNING ann 10.99.0.2\n", "DELETE", "force" },
};

static void what_ended_is_cleared_away_and_what_lives_stays(void **state)
{
    struct scripted_engine *engine = *state;
    struct terminal_key key = { (char *)"ann", (char *)"default", (char *)"default" };

    begin_watch(engine);
    must_tell(engine, "end\n");
    for (size_t i = 0; i < COUNT_OF(stops); i++) {
        struct terminal_ref ref = { .key = &key, .name = "ann", .instance_id = "c0", .ended = stops[i].ended };
        struct error err = { 0 };

        print_message("  %s\n", stops[i].name);
        forget_told(engine);
        pthread_mutex_lock(&engine->lock);
        engine->containers[0] = (struct scripted_container){ "c0", "ann", "ann", stops[i].status, "10.99.0.2", 0 };
        clock_format_iso(clock_wall_us() - (stops[i].just_now ? 0 : 60000000), engine->finished);
        engine->on_inspect = stops[i].on_inspect;
        engine->inspections = 0;
        pthread_mutex_unlock(&engine->lock);
        assert_int_equal(engine->backend->ops->stop(engine->backend, &ref, 10, &err), 0);
        must_tell(engine, stops[i].told);
        pthread_mutex_lock(&engine->lock);
        assert_true(!stops[i].asked || buffer_holds(&engine->asked, stops[i].asked));
        assert_false(stops[i].not_asked && buffer_holds(&engine->asked, stops[i].not_asked));
        pthread_mutex_unlock(&engine->lock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_ended_is_cleared_away_and_what_lives_stays, scripted_engine_begin, scripted_engine_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
