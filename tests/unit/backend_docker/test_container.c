/* What a container is made of, which network it goes to, where it is dialled, and which directory is its home. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "backend/docker/parts.h"
#include "base/file.h"

static struct terminal_key *key_of(const char *user, const char *policy, const char *context)
{
    return terminal_key_new(str_from(user), str_from(policy), str_from(context));
}

/* --- the body of create -------------------------------------------------------------------------------------- */

/* Follows a path of member names and array indices, separated by '|'. */
static const json_t *at(const json_t *value, const char *path)
{
    struct str rest = str_from(path), part;
    uint64_t index;

    while (value && str_next_part(&rest, '|', &part)) {
        if (json_is_array(value))
            value = str_to_u64(part, &index) ? json_array_get(value, index) : NULL;
        else {
            cleanup_free char *name = str_dup(part);

            value = json_object_get(value, name);
        }
    }
    return value;
}

static json_t *body_of(struct terminal_spec spec, struct container_plan plan, struct error *err)
{
    struct terminal_key *key = key_of("someone@example.org", "gpu policy", "chat:1");
    cleanup_json json_t *env = json_pack("{s:s, s:s}", "A", "1=2", "OPEN_TERMINAL_API_KEY", "theirs");
    cleanup_json json_t *home = json_pack("{s:s}", "Type", "volume");
    json_t *body;

    spec.key = key;
    spec.env = env;
    if (!spec.guest_key)
        spec.guest_key = "secret";
    if (!spec.image)
        spec.image = "image:1";
    if (!plan.network)
        plan.network = "terminals";
    plan.home = home;
    body = container_body(&spec, &plan, err);
    terminal_key_free(key);
    return body;
}

static void container_body_holds_what_the_spec_says(void **state)
{
    static const struct docker_mount one_mount[] = { { (char *)"/a", (char *)"/b", true } };
    static const struct {
        const char *name;
        struct terminal_spec spec;
        struct container_plan plan;
        const char *path, *value;       /* compact JSON; NULL: must be missing */
    } rows[] = {
        { "image", { 0 }, { 0 }, "Image", "\"image:1\"" },
        { "working directory", { 0 }, { 0 }, "WorkingDir", "\"/home/user\"" },
        { "policy env and the terminal's own key", { 0 }, { 0 }, "Env", "[\"A=1=2\",\"OPEN_TERMINAL_API_KEY=secret\"]" },
        { "label: managed by", { 0 }, { 0 }, "Labels|app.kubernetes.io/managed-by", "\"terminals\"" },
        { "label: user, raw", { 0 }, { 0 }, "Labels|openwebui.com/user-id", "\"someone@example.org\"" },
        { "label: policy, raw", { 0 }, { 0 }, "Labels|openwebui.com/policy", "\"gpu policy\"" },
        { "label: context, raw", { 0 }, { 0 }, "Labels|openwebui.com/context-id", "\"chat:1\"" },
        { "label: context type", { 0 }, { 0 }, "Labels|openwebui.com/context-type", "\"chat\"" },
        { "label: spec hash", { .spec_hash = "h" }, { 0 }, "Labels|openwebui.com/spec-hash", "\"h\"" },
        { "an init process", { 0 }, { .init = true }, "HostConfig|Init", "true" },
        { "no init process where the engine has none", { 0 }, { 0 }, "HostConfig|Init", "false" },
        { "network", { 0 }, { 0 }, "HostConfig|NetworkMode", "\"terminals\"" },
        { "no port by default", { 0 }, { 0 }, "HostConfig|PortBindings", NULL },
        { "port on one address", { 0 }, { .publish_ip = "172.18.0.1" }, "HostConfig|PortBindings", "{\"8000/tcp\":[{\"HostIp\":\"172.18.0.1\",\"HostPort\":\"\"}]}" },
        { "pids: the default", { 0 }, { 0 }, "HostConfig|PidsLimit", "4096" },
        { "pids: the policy's", { .pids_limit = 99 }, { 0 }, "HostConfig|PidsLimit", "99" },
        { "no memory limit", { 0 }, { 0 }, "HostConfig|Memory", NULL },
        { "memory", { .memory_bytes = 1u << 30 }, { 0 }, "HostConfig|Memory", "1073741824" },
        { "cpu", { .nano_cpus = 1500000000 }, { .most_nano_cpus = 2000000000 }, "HostConfig|NanoCpus", "1500000000" },
        { "cpu: not less than a kernel rations", { .nano_cpus = 1 }, { .most_nano_cpus = 2000000000 }, "HostConfig|NanoCpus", "10000000" },
        { "cpu: not more than the host has", { .nano_cpus = 4000000000 }, { .most_nano_cpus = 2000000000 }, "HostConfig|NanoCpus", "2000000000" },
        { "storage", { .storage_bytes = 5 }, { .storage_size = true }, "HostConfig|StorageOpt", "{\"size\":\"5\"}" },
        { "storage: the driver cannot", { .storage_bytes = 5 }, { 0 }, "HostConfig|StorageOpt", NULL },
        { "log limits", { 0 }, { .log_driver = "json-file" }, "HostConfig|LogConfig", "{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"10m\",\"max-file\":\"2\"}}" },
        { "log limits: not for other drivers", { 0 }, { .log_driver = "journald" }, "HostConfig|LogConfig", NULL },
        { "no new privileges", { 0 }, { 0 }, "HostConfig|SecurityOpt", "[\"no-new-privileges\"]" },
        { "sudo allowed", { .allow_sudo = true }, { 0 }, "HostConfig|SecurityOpt", NULL },
        { "sudo allowed, but restricted", { .allow_sudo = true, .restricted = true }, { 0 }, "HostConfig|SecurityOpt", "[\"no-new-privileges\"]" },
        { "net admin", { .net_admin = true }, { 0 }, "HostConfig|CapAdd", "[\"NET_ADMIN\"]" },
        { "no net admin", { 0 }, { 0 }, "HostConfig|CapAdd", NULL },
        { "runtime", { .runtime = "runsc" }, { 0 }, "HostConfig|Runtime", "\"runsc\"" },
        { "all GPUs", { .gpus = "all" }, { 0 }, "HostConfig|DeviceRequests|0|Count", "-1" },
        { "two GPUs", { .gpus = "2" }, { 0 }, "HostConfig|DeviceRequests|0|Count", "2" },
        { "named GPUs", { .gpus = "device=0,GPU-1" }, { 0 }, "HostConfig|DeviceRequests|0|DeviceIDs", "[\"0\",\"GPU-1\"]" },
        { "GPU capability", { .gpus = "all" }, { 0 }, "HostConfig|DeviceRequests|0|Capabilities", "[[\"gpu\"]]" },
        { "home first", { 0 }, { 0 }, "HostConfig|Mounts|0|Type", "\"volume\"" },
        { "mounts", { 0 }, { .mounts = one_mount, .mount_count = 1 },
          "HostConfig|Mounts|1", "{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/b\",\"ReadOnly\":true}" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err;
        cleanup_json json_t *body = body_of(rows[i].spec, rows[i].plan, &err);
        const json_t *value = at(body, rows[i].path);
        cleanup_free char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        print_message("%s\n", rows[i].name);
        assert_non_null(body);
        if (rows[i].value) {
            assert_non_null(text);
            assert_string_equal(text, rows[i].value);
        } else {
            assert_null(value);
        }
    }
}

static void policies_that_cannot_be_run_are_refused(void **state)
{
    static const struct {
        const char *name;
        struct terminal_spec spec;
        const char *network;
    } rows[] = {
        { "gpus: words", { .gpus = "some" }, "terminals" },
        { "gpus: zero", { .gpus = "0" }, "terminals" },
        { "network none", { 0 }, "none" },
        { "network host", { 0 }, "host" },
        { "another container's network", { 0 }, "container:x" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err;
        cleanup_json json_t *body = body_of(rows[i].spec, (struct container_plan){ .network = rows[i].network }, &err);

        print_message("%s\n", rows[i].name);
        assert_null(body);
        assert_int_equal(err.class, ERR_INVALID_POLICY);
    }
}

/* --- labels and ends ----------------------------------------------------------------------------------------- */

static void keys_come_back_from_labels(void **state)
{
    static const struct {
        const char *name, *labels, *user, *policy, *context;    /* NULL user: not ours */
    } rows[] = {
        { "all", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u\",\"openwebui.com/policy\":\"P x\",\"openwebui.com/context-id\":\"chat:1\"}", "u", "P x", "chat:1" },
        { "an old container without a context", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u\"}", "u", "default", "default" },
        { "no user", "{\"app.kubernetes.io/managed-by\":\"terminals\"}", NULL, NULL, NULL },
        { "another manager", "{\"app.kubernetes.io/managed-by\":\"helm\",\"openwebui.com/user-id\":\"u\"}", NULL, NULL, NULL },
        { "none", "{}", NULL, NULL, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *labels = json_read(str_from(rows[i].labels), NULL);
        struct terminal_key *key = key_from_labels(labels);

        print_message("%s\n", rows[i].name);
        assert_true(!rows[i].user == !key);
        if (key) {
            assert_string_equal(key->user_id, rows[i].user);
            assert_string_equal(key->policy_id, rows[i].policy);
            assert_string_equal(key->context_id, rows[i].context);
        }
        terminal_key_free(key);
    }
}

static void ends_are_told_in_words(void **state)
{
    static const struct {
        const char *state, *text;
        enum error_class class;
    } rows[] = {
        { "{\"Status\":\"exited\",\"ExitCode\":1}", "exited with code 1", ERR_GUEST_CRASHED },
        { "{\"Status\":\"exited\",\"ExitCode\":143}", "exited with code 143 (signal 15)", ERR_GUEST_CRASHED },
        { "{\"Status\":\"exited\",\"ExitCode\":137,\"OOMKilled\":true}", "killed (out of memory)", ERR_GUEST_CRASHED },
        { "{\"Status\":\"created\",\"ExitCode\":127,\"Error\":\"exec: not found\"}", "could not run: exec: not found", ERR_GUEST_CRASHED },
        { "{\"Status\":\"created\",\"ExitCode\":0,\"Error\":\"\"}", "created, but never started", ERR_NONE },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *inspection = json_pack("{s:o}", "State", json_read(str_from(rows[i].state), NULL));
        char text[160];

        assert_int_equal(container_exit_reason(inspection, text), rows[i].class);
        assert_string_equal(text, rows[i].text);
    }
}

/* --- networks ------------------------------------------------------------------------------------------------ */

static void shard_is_the_whole_digest_modulo_the_count(void **state)
{
    /* Reckoned with another implementation of SHA-256 and of long division. */
    static const struct {
        const char *user, *policy, *context;
        size_t count, shard;
    } rows[] = {
        { "u", "default", "default", 1, 0 },
        { "u", "default", "default", 2, 1 },
        { "u", "default", "default", 3, 2 },
        { "u", "default", "default", 7, 5 },
        { "u", "default", "default", 1000, 735 },
        { "someone@example.org", "gpu", "chat:1", 1, 0 },
        { "someone@example.org", "gpu", "chat:1", 2, 1 },
        { "someone@example.org", "gpu", "chat:1", 3, 0 },
        { "someone@example.org", "gpu", "chat:1", 7, 1 },
        { "someone@example.org", "gpu", "chat:1", 1000, 617 },
        { "ü", "a_b", "automation:x", 1, 0 },
        { "ü", "a_b", "automation:x", 2, 1 },
        { "ü", "a_b", "automation:x", 3, 1 },
        { "ü", "a_b", "automation:x", 7, 6 },
        { "ü", "a_b", "automation:x", 1000, 121 },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_key *key = key_of(rows[i].user, rows[i].policy, rows[i].context);

        print_message("%s:%s:%s mod %zu\n", rows[i].policy, rows[i].user, rows[i].context, rows[i].count);
        assert_int_equal(network_shard(key, rows[i].count), rows[i].shard);
        terminal_key_free(key);
    }
}

static void guests_are_dialled_where_they_can_be_reached(void **state)
{
    static const char on_managed[] = "{\"HostConfig\":{\"NetworkMode\":\"terminals\"},\"NetworkSettings\":{\"Networks\":{\"terminals\":{\"IPAddress\":\"172.18.0.5\"}},"
        "\"Ports\":{\"8000/tcp\":null}}}";
    static const char published[] = "{\"HostConfig\":{\"NetworkMode\":\"terminals\"},\"NetworkSettings\":{\"Networks\":{\"terminals\":{\"IPAddress\":\"172.18.0.5\"}},"
        "\"Ports\":{\"8000/tcp\":[{\"HostIp\":\"172.18.0.1\",\"HostPort\":\"32768\"}]}}}";
    static const char original[] = "{\"HostConfig\":{\"NetworkMode\":\"default\"},\"NetworkSettings\":{\"Networks\":{\"bridge\":{\"IPAddress\":\"172.17.0.2\"}},"
        "\"Ports\":{\"8000/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"32769\"},{\"HostIp\":\"::\",\"HostPort\":\"32769\"}]}}}";
    static const char two_networks[] = "{\"HostConfig\":{\"NetworkMode\":\"b\"},\"NetworkSettings\":{\"Networks\":{\"a\":{\"IPAddress\":\"10.0.0.1\"},\"b\":{\"IPAddress\":\"10.0.0.2\"}}}}";
    static const char stopped[] = "{\"HostConfig\":{\"NetworkMode\":\"terminals\"},\"NetworkSettings\":{\"Networks\":{\"terminals\":{\"IPAddress\":\"\"}},\"Ports\":{}}}";
    static const struct {
        const char *name;
        struct reach reach;
        const char *near, *inspection, *host;           /* NULL host: no way */
        unsigned port;
    } rows[] = {
        { "on the host: at its own address", { .mode = REACH_DIRECT }, "{}", on_managed, "172.18.0.5", 8000 },
        { "on the host: not through its port", { .mode = REACH_DIRECT }, "{}", published, "172.18.0.5", 8000 },
        { "on the host: the original's, on any bridge", { .mode = REACH_DIRECT }, "{}", original, "172.17.0.2", 8000 },
        { "on the host: the network that it was made on", { .mode = REACH_DIRECT }, "{}", two_networks, "10.0.0.2", 8000 },
        { "on the host: without an address", { .mode = REACH_DIRECT }, "{}", stopped, NULL, 0 },
        { "in a container: its port on the bridge", { .mode = REACH_JOINED, .publish_ip = (char *)"172.18.0.1" }, "{}", published, "172.18.0.1", 32768 },
        { "in a container: made by us on the host", { .mode = REACH_JOINED, .publish_ip = (char *)"172.18.0.1" }, "{}", on_managed, NULL, 0 },
        { "in a container: the original's port", { .mode = REACH_JOINED, .publish_ip = (char *)"172.18.0.1" }, "{}", original, "172.18.0.1", 32769 },
        { "in a container: on a network of ours", { .mode = REACH_JOINED, .publish_ip = (char *)"172.18.0.1" }, "{\"a\":true}", two_networks, "10.0.0.1", 8000 },
        { "remote: the published address", { .mode = REACH_PUBLISHED, .publish_ip = (char *)"10.1.1.1" }, "{}", original, "10.1.1.1", 32769 },
        { "remote: published elsewhere", { .mode = REACH_PUBLISHED, .publish_ip = (char *)"10.1.1.1" }, "{}", published, NULL, 0 },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *inspection = json_read(str_from(rows[i].inspection), NULL), *near = json_read(str_from(rows[i].near), NULL);
        struct reach reach = { .mode = rows[i].reach.mode, .publish_ip = rows[i].reach.publish_ip, .near_networks = near };
        struct endpoint endpoint;
        bool found = reach_endpoint(&reach, inspection, &endpoint);

        print_message("%s\n", rows[i].name);
        assert_int_equal(found, rows[i].host != NULL);
        if (found) {
            assert_string_equal(endpoint.host, rows[i].host);
            assert_int_equal(endpoint.port, rows[i].port);
            assert_int_equal(endpoint.address.ss_family, AF_INET);
        }
    }
}

static void ports_are_published_only_where_there_is_no_other_way(void **state)
{
    cleanup_json json_t *near = json_pack("{s:b}", "mine", 1);
    struct reach direct = { .mode = REACH_DIRECT, .near_networks = near };
    struct reach joined = { .mode = REACH_JOINED, .near_networks = near, .publish_ip = (char *)"172.18.0.1" };

    assert_false(reach_needs_port(&direct, "terminals"));
    assert_true(reach_needs_port(&joined, "terminals"));
    assert_false(reach_needs_port(&joined, "mine"));
}

/* --- homes --------------------------------------------------------------------------------------------------- */

static void only_a_plain_directory_of_the_original_is_used_as_home(void **state)
{
    char root[] = "/tmp/homes-XXXXXX";
    static const struct {
        const char *name, *user, *policy, *context;
        bool original;
    } rows[] = {
        { "the original's", "plain", "default", "default", true },
        { "of any policy", "plain", "python", "default", true },
        { "a chat's home is not the user's", "plain", "default", "chat:1", false },
        { "a user without one", "other", "default", "default", false },
        { "a planted link", "link", "default", "default", false },
        { "a file", "file", "default", "default", false },
        { "another's terminal name", "terminals-0123456789ab", "default", "default", false },
        { "a path", "sub/dir", "default", "default", false },
        { "the parent", "..", "default", "default", false },
        { "the data directory itself", ".", "default", "default", false },
    };
    int fd;

    assert_non_null(mkdtemp(root));
    fd = open(root, O_RDONLY | O_DIRECTORY);
    assert_int_equal(mkdirat(fd, "plain", 0700), 0);
    assert_int_equal(mkdirat(fd, "sub", 0700), 0);
    assert_int_equal(mkdirat(fd, "sub/dir", 0700), 0);
    assert_int_equal(mkdirat(fd, "terminals-0123456789ab", 0700), 0);
    assert_int_equal(symlinkat("/etc", fd, "link"), 0);
    close(openat(fd, "file", O_CREAT | O_WRONLY, 0600));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_key *key = key_of(rows[i].user, rows[i].policy, rows[i].context);
        cleanup_free char *name = home_directory_name(fd, key, "terminals-name");

        print_message("%s\n", rows[i].name);
        assert_string_equal(name, rows[i].original ? rows[i].user : "terminals-name");
        terminal_key_free(key);
    }
    assert_int_equal(dir_empty(fd, NULL), 0);
    close(fd);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(container_body_holds_what_the_spec_says),
        cmocka_unit_test(policies_that_cannot_be_run_are_refused),
        cmocka_unit_test(keys_come_back_from_labels),
        cmocka_unit_test(ends_are_told_in_words),
        cmocka_unit_test(shard_is_the_whole_digest_modulo_the_count),
        cmocka_unit_test(guests_are_dialled_where_they_can_be_reached),
        cmocka_unit_test(ports_are_published_only_where_there_is_no_other_way),
        cmocka_unit_test(only_a_plain_directory_of_the_original_is_used_as_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
