/* Image references, and what a docker config.json says about a registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "backend/docker/registry.h"
#include "base/json.h"

static void image_references_are_split(void **state)
{
    static const struct {
        const char *image, *repository, *tag, *registry;        /* NULL repository: refused */
    } rows[] = {
        { "alpine", "alpine", "latest", "docker.io" },
        { "alpine:3", "alpine", "3", "docker.io" },
        { "me/alpine", "me/alpine", "latest", "docker.io" },
        { "ghcr.io/open-webui/open-terminal:latest", "ghcr.io/open-webui/open-terminal", "latest", "ghcr.io" },
        { "localhost/x", "localhost/x", "latest", "localhost" },
        { "localhost:5000/x", "localhost:5000/x", "latest", "localhost:5000" },
        { "host:5000/x/y:1.2", "host:5000/x/y", "1.2", "host:5000" },
        { "x@sha256:00", "x", "sha256:00", "docker.io" },
        { "ghcr.io/x:1@sha256:00", "ghcr.io/x:1", "sha256:00", "ghcr.io" },
        { "index.docker.io/a/b", "index.docker.io/a/b", "latest", "docker.io" },
        { "sha256:0123", NULL, NULL, NULL },
        { "", NULL, NULL, NULL },
        { "a b", NULL, NULL, NULL },
        { "a&tag=b", NULL, NULL, NULL },
        { "-x", NULL, NULL, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *repository = NULL, *tag = NULL, *registry = NULL;
        struct error err;
        int result = image_reference_split(rows[i].image, &repository, &tag, &err);

        print_message("%s\n", rows[i].image);
        assert_int_equal(result, rows[i].repository ? 0 : -1);
        if (result < 0)
            continue;
        assert_string_equal(repository, rows[i].repository);
        assert_string_equal(tag, rows[i].tag);
        registry = image_registry(repository);
        assert_string_equal(registry, rows[i].registry);
    }
}

static json_t *decode(const char *value)
{
    cleanup_free char *text = xstrdup(value), *out = xcalloc(1, strlen(value) + 1);
    int len;

    for (char *c = text; *c; c++)
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    len = EVP_DecodeBlock((unsigned char *)out, (unsigned char *)text, (int)strlen(text));
    assert_true(len > 0);
    return json_read(str_from(out), NULL);
}

static void credentials_are_found_as_docker_does(void **state)
{
    static const struct {
        const char *name, *config, *registry, *user, *password, *token;
    } rows[] = {
        { "by host", "{\"auths\":{\"ghcr.io\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "ghcr.io", "me", "secret", NULL },
        { "by URL", "{\"auths\":{\"https://ghcr.io/v2/\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "ghcr.io", "me", "secret", NULL },
        { "the hub", "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "docker.io", "me", "secret", NULL },
        { "a password with colons", "{\"auths\":{\"r:5000\":{\"auth\":\"bWU6YTpi\"}}}", "r:5000", "me", "a:b", NULL },
        { "plain fields", "{\"auths\":{\"r\":{\"username\":\"me\",\"password\":\"x\"}}}", "r", "me", "x", NULL },
        { "an identity token", "{\"auths\":{\"r\":{\"auth\":\"bWU6\",\"identitytoken\":\"t\"}}}", "r", NULL, NULL, "t" },
        { "another registry's", "{\"auths\":{\"ghcr.io\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "quay.io", NULL, NULL, NULL },
        { "no base64", "{\"auths\":{\"r\":{\"auth\":\"***\"}}}", "r", NULL, NULL, NULL },
        { "empty", "{}", "r", NULL, NULL, NULL },
        { "a helper for this registry", "{\"credHelpers\":{\"r\":\"fixed\"},\"auths\":{\"r\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "r", "helped", "r", NULL },
        { "a helper for all", "{\"credsStore\":\"fixed\"}", "r", "helped", "r", NULL },
        { "a helper's token", "{\"credsStore\":\"token\"}", "r", NULL, NULL, "tok" },
        { "a helper that knows nothing falls back", "{\"credsStore\":\"failing\",\"auths\":{\"r\":{\"auth\":\"bWU6c2VjcmV0\"}}}", "r", "me", "secret", NULL },
        { "a helper whose name is a path", "{\"credsStore\":\"../fixed\"}", "r", NULL, NULL, NULL },
        { "a helper that is not there", "{\"credsStore\":\"missing\"}", "r", NULL, NULL, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *config = json_read(str_from(rows[i].config), NULL), *auth = NULL;
        cleanup_free char *value = registry_auth_from(config, rows[i].registry);

        print_message("%s\n", rows[i].name);
        if (!rows[i].user && !rows[i].token) {
            assert_null(value);
            continue;
        }
        assert_non_null(value);
        auth = decode(value);
        if (rows[i].token) {
            assert_string_equal(json_text(auth, "identitytoken"), rows[i].token);
        } else {
            assert_string_equal(json_text(auth, "username"), rows[i].user);
            assert_string_equal(json_text(auth, "password"), rows[i].password);
        }
    }
}

static void write_helper(const char *directory, const char *name, const char *body)
{
    cleanup_free char *path = xasprintf("%s/docker-credential-%s", directory, name);
    cleanup_file FILE *file = fopen(path, "w");

    assert_non_null(file);
    (void)fprintf(file, "#!/bin/sh\n%s\n", body);
    assert_int_equal(fchmod(fileno(file), 0755), 0);
}

static int make_helpers(void **state)
{
    static char directory[] = "/tmp/credential-helpers-XXXXXX";
    cleanup_free char *path = NULL;

    assert_non_null(mkdtemp(directory));
    write_helper(directory, "fixed", "read server; printf '{\"ServerURL\":\"%s\",\"Username\":\"helped\",\"Secret\":\"%s\"}\\n' \"$server\" \"$server\"");
    write_helper(directory, "token", "printf '{\"Username\":\"<token>\",\"Secret\":\"tok\"}'");
    write_helper(directory, "failing", "echo credentials not found in native keychain; exit 1");
    path = xasprintf("%s:%s", directory, getenv("PATH"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    *state = directory;
    return 0;
}

static int remove_helpers(void **state)
{
    static const char *const names[] = { "fixed", "token", "failing" };

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        cleanup_free char *path = xasprintf("%s/docker-credential-%s", (char *)*state, names[i]);

        (void)unlink(path);
    }
    return rmdir(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_references_are_split),
        cmocka_unit_test(credentials_are_found_as_docker_does),
    };
    return cmocka_run_group_tests(tests, make_helpers, remove_helpers);
}
