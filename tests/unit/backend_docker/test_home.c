/* Emptying the original's directory, which the terminals of all policies of a user share. */
#include <sys/stat.h>

#include "scripted_engine.h"

static const struct {
    const char *name, *user, *status;   /* the container of policy "default" */
    const char *policy;                 /* whose home is emptied */
    enum error_class refused;
} wipes[] = {
    { "another policy's terminal runs", "ann", "running", "other", ERR_CONFLICT },
    { "another policy's terminal is paused", "ann", "paused", "other", ERR_CONFLICT },
    { "another policy's terminal has ended", "ann", "exited", "other", ERR_NONE },
    { "another user's terminal runs", "bob", "running", "other", ERR_NONE },
    { "only its own was left running", "ann", "running", "default", ERR_NONE },
};

static void a_shared_directory_is_not_emptied_under_another_terminal(void **state)
{
    struct scripted_engine *engine = *state;
    cleanup_free char *home = xasprintf("%s/ann", engine->directory), *file = xasprintf("%s/ann/file", engine->directory);

    engine->settings.docker_data_dir = engine->directory;
    assert_int_equal(mkdir(home, 0700), 0);
    for (size_t i = 0; i < COUNT_OF(wipes); i++) {
        struct terminal_key key = { (char *)"ann", (char *)wipes[i].policy, (char *)"default" };
        struct error err = { 0 };

        print_message("  %s\n", wipes[i].name);
        engine->containers[0] = (struct scripted_container){ "c0", "x", wipes[i].user, wipes[i].status, "10.99.0.2", 0 };
        assert_int_equal(mkdir(file, 0700), 0);
        assert_int_equal(engine->backend->ops->wipe(engine->backend, &(struct terminal_ref){ .key = &key }, &err), wipes[i].refused ? -1 : 0);
        assert_int_equal(err.class, wipes[i].refused);
        assert_int_equal(access(file, F_OK), wipes[i].refused ? 0 : -1);
        (void)rmdir(file);
    }
    (void)rmdir(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shared_directory_is_not_emptied_under_another_terminal, scripted_engine_begin, scripted_engine_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
