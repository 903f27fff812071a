/* The parts of auth that are tested alone: the token cache's bounds, reading claims, the key file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "auth/auth.h"
#include "auth/jwt.h"
#include "auth/token_cache.h"
#include "base/file.h"
#include "base/json.h"
#include "base/secret.h"

static void put(struct token_cache *cache, unsigned number, const struct identity *identity)
{
    unsigned char digest[TOKEN_DIGEST_LEN];

    sha256_bytes(str_of((const char *)&number, sizeof(number)), digest);
    token_cache_put(cache, digest, identity, 1000);
}

static enum token_cache_answer find(struct token_cache *cache, unsigned number, int64_t now_ms)
{
    unsigned char digest[TOKEN_DIGEST_LEN];
    struct identity identity;

    sha256_bytes(str_of((const char *)&number, sizeof(number)), digest);
    return token_cache_find(cache, digest, now_ms, &identity);
}

static void the_cache_is_bounded_and_rubbish_pushes_out_only_rubbish(void **state)
{
    struct token_cache *cache = token_cache_new();
    const struct identity identity = { .user_id = "u" };

    for (unsigned i = 0; i < 10001; i++)
        put(cache, i, &identity);
    for (unsigned i = 20000; i < 22000; i++)
        put(cache, i, NULL);
    assert_int_equal(find(cache, 0, 0), TOKEN_UNKNOWN);
    assert_int_equal(find(cache, 1, 0), TOKEN_ACCEPTED);
    assert_int_equal(find(cache, 10000, 0), TOKEN_ACCEPTED);
    assert_int_equal(find(cache, 20999, 0), TOKEN_UNKNOWN);
    assert_int_equal(find(cache, 21000, 0), TOKEN_REFUSED);
    put(cache, 21000, &identity);
    assert_int_equal(find(cache, 21000, 999), TOKEN_ACCEPTED);
    assert_int_equal(find(cache, 21000, 1000), TOKEN_UNKNOWN);
    token_cache_clear(cache);
    assert_int_equal(find(cache, 10000, 0), TOKEN_UNKNOWN);
    token_cache_free(cache);
}

static void claims_are_read_only_from_what_has_the_form_of_a_token(void **state)
{
    static const struct { const char *token, *id; } rows[] = {
        { "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6InJvYm90IiwiZXhwIjo0MTAyNDQ0ODAwfQ.c2ln", "robot" },
        { "h.eyJpZCI6IsO8In0.s", "\xc3\xbc" },
        { "h.eyJpZCI6IsO8In0=.s", NULL },
        { "h.eyJpZCI6IsO8In0.s.more", NULL },
        { "h.eyJpZCI6IsO8In0", NULL },
        { "h..s", NULL },
        { ".eyJpZCI6IsO8In0.s", NULL },
        { "h.eyJpZCI6IsO8In0.", NULL },
        { "h.WzFd.s", NULL },
        { "h.eyJpZCI6I.s", NULL },
        { "h.@@@@.s", NULL },
        { "", NULL },
        { "sk-0123456789", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *claims = jwt_read_claims(str_from(rows[i].token));
        const char *id = json_text(claims, "id");

        if ((id == NULL) != (rows[i].id == NULL) || (id && strcmp(id, rows[i].id) != 0))
            fail_msg("'%s' gave '%s'", rows[i].token, id ? id : "nothing");
    }
}

/* --- the key file -------------------------------------------------------------------------------------------- */

static char directory[64];

static int make_directory(void **state)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/auth-test-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    cleanup_free char *file = xasprintf("%s/api-key", directory);
    cleanup_free char *below = xasprintf("%s/state/api-key", directory);
    cleanup_free char *state_dir = xasprintf("%s/state", directory);

    (void)unlink(file);
    (void)unlink(below);
    (void)rmdir(state_dir);
    return rmdir(directory);
}

static void the_key_is_made_once_and_only_its_owner_can_read_it(void **state)
{
    cleanup_free char *state_dir = xasprintf("%s/state", directory), *path = xasprintf("%s/api-key", state_dir);
    cleanup_secret char *first = NULL;
    cleanup_secret char *again = NULL;
    struct stat status;
    struct error err;
    bool made;

    assert_int_equal(auth_load_or_make_key(state_dir, &first, &made, &err), 0);
    assert_true(made);
    assert_int_equal(strlen(first), 32);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_nlink, 1);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(auth_load_or_make_key(state_dir, &again, &made, &err), 0);
    assert_false(made);
    assert_string_equal(first, again);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void a_key_file_that_is_none_is_told_and_kept(void **state)
{
    static const char *const contents[] = { "", "\n", "two words\n" };
    cleanup_free char *path = xasprintf("%s/api-key", directory);

    for (size_t i = 0; i < COUNT_OF(contents); i++) {
        char *key;
        struct error err;
        bool made;

        assert_int_equal(file_write_atomic(path, str_from(contents[i]), 0600, &err), 0);
        assert_int_equal(auth_load_or_make_key(directory, &key, &made, &err), -1);
        assert_non_null(strstr(err.text, "does not hold a key"));
        assert_null(key);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    char *key;
    struct error err;
    bool made;

    assert_int_equal(auth_load_or_make_key(directory, &key, &made, &err), -1);
    assert_int_equal(err.class, ERR_IO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(auth_load_or_make_key("/proc/none/there", &key, &made, &err), -1);
    assert_non_null(strstr(err.text, "/proc/none/there"));
}

static void *load(void *argument)
{
    char *key = NULL;
    struct error err;
    bool made;

    return auth_load_or_make_key(directory, &key, &made, &err) == 0 ? key : NULL;
}

static void of_two_who_start_at_once_one_key_wins(void **state)
{
    pthread_t threads[8];
    void *keys[COUNT_OF(threads)];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        pthread_join(threads[i], &keys[i]);
        assert_non_null(keys[i]);
        assert_string_equal(keys[i], keys[0]);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        secret_free(keys[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cache_is_bounded_and_rubbish_pushes_out_only_rubbish),
        cmocka_unit_test(claims_are_read_only_from_what_has_the_form_of_a_token),
        cmocka_unit_test_setup_teardown(the_key_is_made_once_and_only_its_owner_can_read_it, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_key_file_that_is_none_is_told_and_kept, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(of_two_who_start_at_once_one_key_wins, make_directory, remove_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
