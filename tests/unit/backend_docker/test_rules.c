/* What follows from an engine's numbers, messages and streams: API version, error classes, pull progress, logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/docker/parts.h"

static void api_version_is_negotiated(void **state)
{
    static const struct {
        const char *api, *minimum, *chosen;             /* NULL: none fits */
    } rows[] = {
        { "1.40", "1.12", "1.40" },
        { "1.41", "1.12", "1.41" },
        { "1.41", "", "1.41" },
        { "1.44", "1.24", "1.44" },
        { "1.51", "1.24", "1.44" },
        { "1.52", "1.44", "1.44" },
        { "1.60", "1.48", "1.48" },
        { "1.60", "", "1.44" },
        { "1.39", "1.12", NULL },
        { "2.0", "", NULL },
        { "", "", NULL },
        { "1.44", "1.50", NULL },
        { "1.x", "", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char version[16];
        struct error err;
        int result = engine_choose_version(rows[i].api, rows[i].minimum, version, &err);

        print_message("%s at least %s\n", rows[i].api, rows[i].minimum);
        assert_int_equal(result, rows[i].chosen ? 0 : -1);
        if (result == 0)
            assert_string_equal(version, rows[i].chosen);
        else
            assert_int_equal(err.class, ERR_UNAVAILABLE);
    }
}

static void a_missing_network_is_told_from_an_image_of_that_name(void **state)
{
    static const struct {
        const char *message;
        bool network;
    } rows[] = {
        { "network terminals not found", true },
        { "failed to set up container networking: network terminals not found", true },
        { "unable to find network with name or ID terminals: network not found", true },
        { "No such image: network:latest", false },
        { "No such image: registry.example/network-tools:1", false },
        { "No such image: registry.example/tools/network:1", false },
        { "No such container: my-network", false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("%s\n", rows[i].message);
        assert_int_equal(engine_misses_network(rows[i].message), rows[i].network);
    }
}

static void engine_errors_get_a_class_and_an_advice(void **state)
{
    static const struct {
        const char *name;
        int status;
        const char *message;
        enum error_class class;
        const char *part;
    } rows[] = {
        { "missing", 404, "No such container: x", ERR_NOT_FOUND, "No such container: x" },
        { "name taken", 409, "Conflict. The container name", ERR_CONFLICT, "Conflict" },
        { "bad body", 400, "invalid reference", ERR_INVALID, "invalid reference" },
        { "a proxy in front says no", 403, "", ERR_UNAVAILABLE, "a proxy in front of it must allow" },
        { "broken", 500, "boom", ERR_UNAVAILABLE, "boom" },
        { "no text", 500, "", ERR_UNAVAILABLE, "status 500" },
        { "bridge full", 500, "adding interface veth1 to bridge br-1 failed: exchange full", ERR_NO_CAPACITY, "TERMINALS_DOCKER_NETWORK" },
        { "no address left", 500, "no available IPv4 addresses on this network's address pools: terminals", ERR_NO_CAPACITY, "TERMINALS_DOCKER_NETWORK" },
        { "no range left", 500, "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network", ERR_NO_CAPACITY, "prune" },
        { "disk full", 500, "write /x: no space left on device", ERR_NO_CAPACITY, "disk is full" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err;

        print_message("%s\n", rows[i].name);
        assert_int_equal(engine_map_error(ENGINE_CONTAINER_START, rows[i].status, rows[i].message, &err), -1);
        assert_int_equal(err.class, rows[i].class);
        assert_non_null(strstr(err.text, rows[i].part));
    }
}

static void pull_streams_tell_progress_and_failure_in_any_pieces(void **state)
{
    static const char stream[] =
        "{\"status\":\"Pulling from library/x\",\"id\":\"latest\"}\r\n"
        "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":12000000,\"total\":345000000},\"id\":\"a\"}\r\n"
        "\r\n"
        "{\"errorDetail\":{\"message\":\"toomanyrequests: slow down\"},\"error\":\"toomanyrequests: slow down\"}\r\n";

    for (size_t piece = 1; piece < sizeof(stream); piece++) {
        struct pull_progress progress = { 0 };
        struct str rest = str_from(stream);

        while (rest.len > 0) {
            size_t len = piece < rest.len ? piece : rest.len;

            assert_true(pull_progress_take(&progress, str_of(rest.data, len)));
            rest = str_skip(rest, len);
        }
        assert_string_equal(progress.text, "Downloading, 12 of 345 MB of a layer");
        assert_string_equal(progress.failure, "toomanyrequests: slow down");
        buf_free(&progress.line);
    }
}

static void pull_streams_that_are_no_json_are_refused(void **state)
{
    struct pull_progress progress = { 0 };

    assert_false(pull_progress_take(&progress, STR_LITERAL("<html>\n")));
    buf_free(&progress.line);
}

static void logs_are_unframed_and_stripped(void **state)
{
    static const struct {
        const char *name;
        struct str framed;
        size_t most;
        const char *text;
    } rows[] = {
        { "frames of both streams", STR_LITERAL("\1\0\0\0\0\0\0\6hello\n\2\0\0\0\0\0\0\4bad\n"), 500, "hello\nbad" },
        { "a frame that is cut", STR_LITERAL("\1\0\0\0\0\0\0\377hel"), 500, "hel" },
        { "a frame length of 4 GB", STR_LITERAL("\1\0\0\0\377\377\377\377x"), 500, "x" },
        { "a terminal's raw stream", STR_LITERAL("plain\r\ntext"), 500, "plain\ntext" },
        { "colours and titles", STR_LITERAL("\x1b[1;31mred\x1b[0m \x1b]0;title\atext"), 500, "red text" },
        { "an unfinished escape", STR_LITERAL("a\x1b["), 500, "a" },
        { "an escape alone", STR_LITERAL("a\x1b"), 500, "a" },
        { "control characters", STR_LITERAL("a\0b\bc\x7f" "d\te"), 500, "abcd e" },
        { "the last lines are kept", STR_LITERAL("first line\nsecond line is longer\n"), 24, "second line is longer" },
        { "a long line is cut in front", STR_LITERAL("0123456789"), 4, "6789" },
        { "never inside a character", STR_LITERAL("x\xc3\xa4\xc3\xb6"), 3, "\xc3\xb6" },
        { "not UTF-8", STR_LITERAL("\xff\xfe text"), 500, "(not UTF-8)" },
        { "what the image's own init says of ours", STR_LITERAL("[WARN  tini (8)] Tini is not running as PID 1\nZombie processes will not be re-parented to Tini, so\n"
          "To fix the problem, use the -s option or set the environment variable TINI_SUBREAPER to\nreal trouble\n"), 500, "real trouble" },
        { "nothing", STR_LITERAL(""), 500, "" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *text = logs_to_text(rows[i].framed, rows[i].most);

        print_message("%s\n", rows[i].name);
        assert_string_equal(text, rows[i].text);
    }
}

static void own_container_is_told_by_mountinfo_cgroup_and_hostname(void **state)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const struct {
        const char *name;
        struct self_sources sources;
        size_t count;
        const char *first;
    } rows[] = {
        { "cgroup v2 in a container", { "1 2 0:1 / / rw - overlay o rw\n3 2 8:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw - ext4 /dev/sda rw\n", "0::/\n", "web" }, 1, ID },
        { "cgroup v1 in a container", { NULL, "12:pids:/docker/" ID "\n", "web" }, 1, ID },
        { "systemd's scope", { NULL, "0::/system.slice/docker-" ID ".scope\n", "web" }, 1, ID },
        { "on the host other containers' mounts do not count", { "3 2 0:5 / /var/lib/docker/containers/" ID "/mounts/shm rw - tmpfs shm rw\n", "0::/init.scope\n", "web" }, 0, NULL },
        { "the default hostname", { NULL, NULL, "0123456789ab" }, 1, "0123456789ab" },
        { "another hostname of that length", { NULL, NULL, "terminals-00" }, 0, NULL },
        { "a longer run of digits is no id", { NULL, "0::/" ID "0\n", NULL }, 0, NULL },
        { "nothing readable", { NULL, NULL, "" }, 0, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char ids[3][65];
        size_t count = self_candidates(&rows[i].sources, ids);

        print_message("%s\n", rows[i].name);
        assert_int_equal(count, rows[i].count);
        if (count)
            assert_string_equal(ids[0], rows[i].first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_version_is_negotiated),
        cmocka_unit_test(a_missing_network_is_told_from_an_image_of_that_name),
        cmocka_unit_test(engine_errors_get_a_class_and_an_advice),
        cmocka_unit_test(pull_streams_tell_progress_and_failure_in_any_pieces),
        cmocka_unit_test(pull_streams_that_are_no_json_are_refused),
        cmocka_unit_test(logs_are_unframed_and_stripped),
        cmocka_unit_test(own_container_is_told_by_mountinfo_cgroup_and_hostname),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
