/* The Docker backend against a real engine and a real guest. */
#include "support.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "http/client.h"

static struct bench bench;

static const json_t *member(const json_t *value, const char *a, const char *b)
{
    return json_object_get(json_object_get(value, a), b);
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static void home_is_kept_by_stop_and_emptied_by_wipe(void **state)
{
    struct terminal_key *key = test_key("home", "default", "default");
    struct terminal_ref ref = { .key = key };
    struct terminal_spec spec = spec_for(key);
    cleanup_free char *read = NULL;
    struct error err;
    struct seen seen;

    must_start(&bench, &spec, &seen);
    assert_string_equal(seen.guest_key, "key-of-the-guest");
    assert_string_equal(seen.spec_hash, "hash-1");
    assert_string_equal(seen.user_id, key->user_id);
    assert_int_equal(guest_call(&seen, "POST", "/files/write", "{\"path\":\"kept.txt\",\"content\":\"still here\"}", NULL), 200);
    must_stop(&bench, key);
    assert_true(volume_exists(&bench, key));

    must_start(&bench, &spec, &seen);
    assert_int_equal(guest_call(&seen, "GET", "/files/read?path=kept.txt", NULL, &read), 200);
    assert_non_null(strstr(read, "still here"));
    assert_int_equal(bench.backend->ops->wipe(bench.backend, &ref, &err), -1);
    assert_non_null(strstr(err.text, "in use"));
    must_stop(&bench, key);
    assert_int_equal(bench.backend->ops->wipe(bench.backend, &ref, &err), 0);
    assert_false(volume_exists(&bench, key));
    assert_int_equal(bench.backend->ops->wipe(bench.backend, &ref, &err), 0);
    assert_int_equal(bench.backend->ops->stop(bench.backend, &ref, 10, &err), 0);
    terminal_key_free(key);
}

/* On the host without any published port, in a container with one on the bridge's own address. */
static void guests_sit_apart_on_the_managed_bridge_and_publish_on_no_other_address(void **state)
{
    struct terminal_key *key = test_key("network", "default", "default");
    struct terminal_spec spec = spec_for(key);
    cleanup_json json_t *inspection = NULL, *network = NULL;
    struct seen seen;

    must_start(&bench, &spec, &seen);
    inspection = inspect_now(&bench, name_of(key));
    assert_int_equal(json_object_size(member(inspection, "NetworkSettings", "Networks")), 1);
    assert_non_null(json_object_get(member(inspection, "NetworkSettings", "Networks"), MANAGED_NETWORK));
    assert_int_equal(engine_raw(&bench, "GET", "/networks/" MANAGED_NETWORK, NULL, &network), 200);
    if (seen.endpoint.port == GUEST_PORT) {
        assert_int_equal(json_object_size(member(inspection, "HostConfig", "PortBindings")), 0);
    } else {
        const char *gateway = json_text(json_array_get(member(network, "IPAM", "Config"), 0), "Gateway");

        assert_string_equal(json_text(json_array_get(json_object_get(member(inspection, "HostConfig", "PortBindings"), "8000/tcp"), 0), "HostIp"), gateway);
    }
    assert_string_equal(json_text(json_object_get(network, "Options"), "com.docker.network.bridge.enable_icc"), "false");
    assert_string_equal(json_text(json_object_get(network, "Labels"), LABEL_MANAGED_BY), "terminals");
    must_stop(&bench, key);
    terminal_key_free(key);
}

static void limits_reach_the_container(void **state)
{
    struct terminal_key *key = test_key("limits", "default", "default");
    struct terminal_spec spec = spec_for(key);
    cleanup_json json_t *inspection = NULL;
    const json_t *host;
    struct seen seen;

    spec.memory_bytes = 512u << 20;
    spec.nano_cpus = 500000000;
    spec.pids_limit = 321;
    spec.allow_sudo = false;
    must_start(&bench, &spec, &seen);
    inspection = inspect_now(&bench, name_of(key));
    host = json_object_get(inspection, "HostConfig");
    assert_int_equal(json_integer_value(json_object_get(host, "Memory")), 512u << 20);
    assert_int_equal(json_integer_value(json_object_get(host, "NanoCpus")), 500000000);
    assert_int_equal(json_integer_value(json_object_get(host, "PidsLimit")), 321);
    assert_string_equal(json_string_value(json_array_get(json_object_get(host, "SecurityOpt"), 0)), "no-new-privileges");
    assert_string_equal(json_text(member(host, "LogConfig", "Config"), "max-size"), "10m");
    must_stop(&bench, key);
    terminal_key_free(key);
}

static void a_storage_size_that_the_driver_cannot_hold_is_dropped(void **state)
{
    struct terminal_key *key = test_key("storage", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct seen seen;

    spec.storage_bytes = 1u << 30;
    must_start(&bench, &spec, &seen);
    must_stop(&bench, key);
    terminal_key_free(key);
}

/* --- the name is taken --------------------------------------------------------------------------------------- */

static void a_running_container_of_the_key_is_adopted_with_its_own_guest_key(void **state)
{
    struct terminal_key *key = test_key("adopt", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct seen first, second;

    must_start(&bench, &spec, &first);
    spec.guest_key = "another";
    must_start(&bench, &spec, &second);
    assert_string_equal(first.id, second.id);
    assert_string_equal(second.guest_key, "key-of-the-guest");
    must_stop(&bench, key);
    terminal_key_free(key);
}

static json_t *labelled_body(const struct terminal_key *key, const char *image)
{
    json_t *body = json_pack("{s:s, s:[s], s:[s, s], s:{s:s}}", "Image", image, "Env", "OPEN_TERMINAL_API_KEY=original-key",
                             "Cmd", "run", "--host=0.0.0.0", "HostConfig", "NetworkMode", "default");

    if (key)
        json_object_set_new(body, "Labels", container_labels(key, NULL));
    return body;
}

static void create_raw(const char *name, json_t *body)
{
    cleanup_free char *path = xasprintf("/containers/create?name=%s", name);

    assert_int_equal(engine_raw(&bench, "POST", path, body, NULL), 201);
}

static void delete_raw(const char *name)
{
    cleanup_free char *path = xasprintf("/containers/%s?force=1&v=1", name);

    assert_int_equal(engine_raw(&bench, "DELETE", path, NULL, NULL), 204);
}

static void post_raw(const char *name, const char *what)
{
    cleanup_free char *path = xasprintf("/containers/%s/%s", name, what);

    assert_in_range(engine_raw(&bench, "POST", path, NULL, NULL), 200, 299);
}

static void a_container_of_the_original_is_adopted_under_its_own_name(void **state)
{
    /* The original gives "A.B" and "a-b" the same name; ours differ. */
    struct terminal_key *key = test_key("original", "A.B", "default"), *twin = test_key("original", "a-b", "default");
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    char legacy[TERMINAL_NAME_SIZE];
    struct error err = { 0 };
    struct seen seen;

    terminal_legacy_name(key, NAME_PREFIX, legacy);
    assert_string_not_equal(legacy, name_of(key));
    create_raw(legacy, labelled_body(key, test_image()));
    post_raw(legacy, "start");
    assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), 0);
    assert_true(wait_for_phase(&bench, legacy, OBSERVED_RUNNING, &seen));
    assert_string_equal(seen.guest_key, "original-key");
    assert_true(guest_becomes_healthy(&seen));
    assert_null(inspect_now(&bench, name_of(key)));

    spec.key = twin;
    if (strcmp(name_of(twin), legacy) == 0) {
        assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), -1);
        assert_int_equal(err.class, ERR_CONFLICT);
    } else {
        must_start(&bench, &spec, &seen);
        must_stop(&bench, twin);
    }
    assert_int_equal(bench.backend->ops->stop(bench.backend, &ref, 1, &err), 0);
    assert_true(wait_for_phase(&bench, legacy, OBSERVED_ABSENT, NULL));
    terminal_key_free(key);
    terminal_key_free(twin);
}

static void containers_that_are_not_ours_are_left_alone(void **state)
{
    struct terminal_key *key = test_key("foreign", "default", "default"), *other = test_key("other", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    const struct terminal_key *owners[] = { NULL, other };
    static const char *const texts[] = { "not ours", "another terminal" };

    for (size_t i = 0; i < COUNT_OF(owners); i++) {
        cleanup_json json_t *inspection = NULL;
        struct error err = { 0 };

        create_raw(name_of(key), labelled_body(owners[i], test_image()));
        assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), -1);
        assert_int_equal(err.class, ERR_CONFLICT);
        assert_non_null(strstr(err.text, texts[i]));
        assert_int_equal(bench.backend->ops->stop(bench.backend, &ref, 1, &err), 0);
        inspection = inspect_now(&bench, name_of(key));
        assert_non_null(inspection);
        assert_false(volume_exists(&bench, key));
        delete_raw(name_of(key));
    }
    terminal_key_free(key);
    terminal_key_free(other);
}

static void what_ended_or_never_started_is_replaced(void **state)
{
    struct terminal_key *key = test_key("replace", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct seen first, second;

    create_raw(name_of(key), labelled_body(key, test_image()));
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_STOPPED, &first));
    assert_string_equal(first.message, "created, but never started");
    must_start(&bench, &spec, &second);
    assert_string_not_equal(first.id, second.id);
    post_raw(name_of(key), "kill");
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_STOPPED, NULL));
    must_start(&bench, &spec, &first);
    assert_string_not_equal(first.id, second.id);
    must_stop(&bench, key);
    terminal_key_free(key);
}

static void a_running_guest_that_cannot_be_used_is_left_until_its_user_comes(void **state)
{
    struct terminal_key *key = test_key("keyless", "default", "default");
    struct terminal_spec spec = spec_for(key);
    json_t *body = labelled_body(key, test_image());
    cleanup_json json_t *before = NULL;
    struct seen seen;

    json_object_del(body, "Env");
    create_raw(name_of(key), body);
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_STOPPED, NULL));
    post_raw(name_of(key), "start");
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_ABSENT, NULL));
    before = inspect_now(&bench, name_of(key));
    assert_true(json_is_true(member(before, "State", "Running")));
    must_start(&bench, &spec, &seen);
    assert_string_not_equal(seen.id, json_text(before, "Id"));
    assert_string_equal(seen.guest_key, "key-of-the-guest");
    must_stop(&bench, key);
    terminal_key_free(key);
}

static void a_paused_guest_is_woken(void **state)
{
    struct terminal_key *key = test_key("paused", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct seen first, second;

    must_start(&bench, &spec, &first);
    post_raw(name_of(key), "pause");
    must_start(&bench, &spec, &second);
    assert_string_equal(first.id, second.id);
    must_stop(&bench, key);
    terminal_key_free(key);
}

/* --- what goes wrong ----------------------------------------------------------------------------------------- */

static void what_happens_from_outside_is_observed(void **state)
{
    struct terminal_key *key = test_key("outside", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct seen seen;

    must_start(&bench, &spec, &seen);
    post_raw(name_of(key), "kill");
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_STOPPED, &seen));
    assert_int_equal(seen.failure, ERR_GUEST_CRASHED);
    assert_string_equal(seen.message, "exited with code 137 (signal 9)");
    post_raw(name_of(key), "start");
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_RUNNING, &seen));
    assert_true(guest_becomes_healthy(&seen));
    delete_raw(name_of(key));
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_ABSENT, NULL));
    terminal_key_free(key);
}

static void a_guest_that_crashes_tells_why(void **state)
{
    struct terminal_key *key = test_key("crash", "default", "default");
    cleanup_json json_t *env = json_pack("{s:s}", "OPEN_TERMINAL_API_KEY_FILE", "/nowhere");
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    cleanup_free char *text = NULL;
    struct error err = { 0 };
    struct seen seen;

    spec.env = env;
    assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), 0);
    assert_true(wait_for_phase(&bench, name_of(key), OBSERVED_STOPPED, &seen));
    assert_int_equal(seen.failure, ERR_GUEST_CRASHED);
    assert_int_equal(strncmp(seen.message, "exited with code ", 17), 0);
    assert_int_equal(bench.backend->ops->diagnose(bench.backend, &ref, &text, &err), 0);
    print_message("%s\n", text);
    assert_non_null(strstr(text, "last lines:\n"));
    assert_non_null(strstr(text, "OPEN_TERMINAL_API_KEY"));
    assert_true(strlen(text) < 700);
    must_stop(&bench, key);
    assert_int_equal(bench.backend->ops->diagnose(bench.backend, &ref, &(char *){ NULL }, &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
    terminal_key_free(key);
}

static void failed_starts_say_what_to_do_and_leave_nothing(void **state)
{
    struct terminal_key *key = test_key("failed", "default", "default");
    static const struct {
        const char *name, *image, *runtime, *network;
        enum error_class class;
        const char *part, *gpus;
    } rows[] = {
        { "GPUs that the host does not have", NULL, NULL, NULL, ERR_UNSCHEDULABLE, "no GPU", "all" },
        { "an image that nobody has", "127.0.0.1:1/none/such:1", NULL, NULL, ERR_IMAGE_NOT_FOUND, "is not on the Docker host and cannot be pulled", NULL },
        { "an image by an unknown id", "sha256:0000000000000000000000000000000000000000000000000000000000000000", NULL, NULL, ERR_IMAGE_NOT_FOUND, "by its id", NULL },
        { "an image name that is none", "127.0.0.1:1/UPPER:x", NULL, NULL, ERR_INVALID_POLICY, "refuses this container", NULL },
        { "an unknown runtime", NULL, "no-such-runtime", NULL, ERR_INVALID_POLICY, "no-such-runtime", NULL },
        { "an unknown network", NULL, NULL, "no-such-network", ERR_INVALID_POLICY, "no-such-network", NULL },
        { "a network without addresses", NULL, NULL, "none", ERR_INVALID_POLICY, "cannot hold a terminal", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_spec spec = spec_for(key);
        cleanup_json json_t *inspection = NULL;
        struct error err = { 0 };

        print_message("%s\n", rows[i].name);
        spec.image = rows[i].image ? rows[i].image : spec.image;
        spec.gpus = rows[i].gpus;
        spec.runtime = rows[i].runtime;
        spec.network = rows[i].network;
        assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), -1);
        print_message("  %s\n", err.text);
        assert_int_equal(err.class, rows[i].class);
        assert_non_null(strstr(err.text, rows[i].part));
        inspection = inspect_now(&bench, name_of(key));
        assert_null(inspection);
        assert_false(volume_exists(&bench, key));
    }
    terminal_key_free(key);
}

static void a_failed_start_keeps_a_home_that_was_there(void **state)
{
    struct terminal_key *key = test_key("kept", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct error err = { 0 };
    struct seen seen;

    must_start(&bench, &spec, &seen);
    must_stop(&bench, key);
    spec.runtime = "no-such-runtime";
    assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), -1);
    assert_true(volume_exists(&bench, key));
    terminal_key_free(key);
}

static void a_volume_of_another_key_is_neither_used_nor_wiped(void **state)
{
    struct terminal_key *key = test_key("volume", "default", "default"), *other = test_key("volume-other", "default", "default");
    cleanup_free char *volume = xasprintf("%s-home", name_of(key));
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    struct error err = { 0 };

    assert_int_equal(engine_raw(&bench, "POST", "/volumes/create", json_pack("{s:s, s:o}", "Name", volume, "Labels", container_labels(other, NULL)), NULL), 201);
    assert_int_equal(bench.backend->ops->start(bench.backend, &spec, &err), -1);
    assert_int_equal(err.class, ERR_CONFLICT);
    assert_int_equal(bench.backend->ops->wipe(bench.backend, &ref, &err), -1);
    assert_int_equal(err.class, ERR_CONFLICT);
    assert_true(volume_exists(&bench, key));
    terminal_key_free(key);
    terminal_key_free(other);
}

/* A registry that takes its time: holds each connection for a while, then hangs up. */
struct slow_registry {
    int listener;
    pthread_t thread;
    _Atomic bool ending;
    unsigned port;
};

static void *serve_slowly(void *argument)
{
    struct slow_registry *registry = argument;

    while (!atomic_load(&registry->ending)) {
        int connection = accept(registry->listener, NULL, NULL);

        usleep(400000);
        if (connection >= 0)
            close(connection);
    }
    return NULL;
}

static void open_registry(struct slow_registry *registry)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);

    registry->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(registry->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(registry->listener, 16), 0);
    assert_int_equal(getsockname(registry->listener, (struct sockaddr *)&address, &len), 0);
    registry->port = ntohs(address.sin_port);
    registry->thread = thread_start("registry", serve_slowly, registry);
}

static void close_registry(struct slow_registry *registry)
{
    atomic_store(&registry->ending, true);
    shutdown(registry->listener, SHUT_RDWR);
    pthread_join(registry->thread, NULL);
    close(registry->listener);
}

struct puller {
    pthread_t thread;
    const char *image;
    char suffix[16];
    struct error err;
    int result;
};

static void *start_missing(void *argument)
{
    struct puller *puller = argument;
    struct terminal_key *key = test_key(puller->suffix, "default", "default");
    struct terminal_spec spec = spec_for(key);

    spec.image = puller->image;
    puller->result = bench.backend->ops->start(bench.backend, &spec, &puller->err);
    terminal_key_free(key);
    return NULL;
}

static uint64_t pulls_counted(void)
{
    cleanup_buf struct buf text = { 0 };
    struct str rest, line, value = STR_LITERAL("0");
    static const struct str name = STR_LITERAL("terminals_engine_calls_total{operation=\"image_pull\"} ");
    uint64_t count = 0;

    metrics_render(&text);
    for (rest = buf_str(&text); str_next_part(&rest, '\n', &line);)
        if (str_starts_with(line, name))
            value = str_skip(line, name.len);
    assert_true(str_to_u64(value, &count));
    return count;
}

static bool is_on_the_host(void)
{
    cleanup_reach struct reach *reach = docker_reach(CONTAINER_OF(bench.backend, struct docker, backend), NULL);

    return reach && reach->mode == REACH_DIRECT;
}

static void a_missing_image_is_pulled_once_for_all_who_wait(void **state)
{
    struct slow_registry registry = { 0 };
    struct puller pullers[4] = { 0 };
    uint64_t before = pulls_counted();
    cleanup_free char *image = NULL;

    if (!is_on_the_host())
        skip();                         /* the engine must reach our loopback address */
    open_registry(&registry);
    image = xasprintf("127.0.0.1:%u/slow:1", registry.port);
    for (unsigned i = 0; i < COUNT_OF(pullers); i++) {
        pullers[i].image = image;
        (void)snprintf(pullers[i].suffix, sizeof(pullers[i].suffix), "pull-%u", i);
        pullers[i].thread = thread_start("puller", start_missing, &pullers[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(pullers); i++) {
        pthread_join(pullers[i].thread, NULL);
        assert_int_equal(pullers[i].result, -1);
        assert_int_equal(pullers[i].err.class, ERR_IMAGE_NOT_FOUND);
    }
    close_registry(&registry);
    assert_int_equal(pulls_counted() - before, 1);
}

/* --- given networks, given directories ----------------------------------------------------------------------- */

static void named_networks_are_used_as_they_are(void **state)
{
    struct terminal_key *key = test_key("named", "default", "default");
    struct terminal_spec spec = spec_for(key);
    cleanup_free char *a = xasprintf("%sa", test_user()), *b = xasprintf("%sb", test_user());
    char *networks[] = { a, b };
    struct settings settings = { .docker_networks = { networks, 2 } };
    cleanup_json json_t *inspection = NULL;
    static struct bench own;            /* outlives a failed test, as its watch does */
    struct seen seen;

    for (size_t i = 0; i < COUNT_OF(networks); i++)
        assert_int_equal(engine_raw(&bench, "POST", "/networks/create", json_pack("{s:s}", "Name", networks[i]), NULL), 201);
    bench_open(&own, &settings);
    must_start(&own, &spec, &seen);
    inspection = inspect_now(&own, name_of(key));
    assert_non_null(json_object_get(member(inspection, "NetworkSettings", "Networks"), networks[network_shard(key, 2)]));
    must_stop(&own, key);
    bench_close(&own);
    terminal_key_free(key);
}

static void a_full_network_is_told_as_such(void **state)
{
    struct terminal_key *first = test_key("room", "default", "default"), *second = test_key("no-room", "default", "default");
    struct terminal_spec spec = spec_for(first);
    cleanup_free char *name = xasprintf("%sfull", test_user());
    struct settings settings = { .docker_networks = { &name, 1 } };
    static struct bench own;            /* outlives a failed test, as its watch does */
    cleanup_json json_t *left = NULL;
    struct error err = { 0 };
    struct seen seen;

    assert_int_equal(engine_raw(&bench, "POST", "/networks/create", json_pack("{s:s, s:{s:[{s:s}]}}", "Name", name, "IPAM", "Config",
                                                                              "Subnet", "10.213.77.0/30"), NULL), 201);
    bench_open(&own, &settings);
    must_start(&own, &spec, &seen);
    spec.key = second;
    assert_int_equal(own.backend->ops->start(own.backend, &spec, &err), -1);
    print_message("  %s\n", err.text);
    assert_int_equal(err.class, ERR_NO_CAPACITY);
    assert_non_null(strstr(err.text, "TERMINALS_DOCKER_NETWORK"));
    left = inspect_now(&own, name_of(second));
    assert_null(left);
    assert_false(volume_exists(&own, second));
    must_stop(&own, first);
    bench_close(&own);
    terminal_key_free(first);
    terminal_key_free(second);
}

static void write_text(int directory, const char *path, const char *text)
{
    cleanup_fd int fd = openat(directory, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void directories_hold_homes_and_links_in_them_lead_nowhere(void **state)
{
    char root[] = "/tmp/engine-test-XXXXXX";
    struct terminal_key *key = test_key("bind", "default", "default"), *planted = test_key("planted", "default", "default");
    cleanup_free char *data = NULL;
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    struct settings settings = { 0 };
    struct error err = { 0 };
    static struct bench own;            /* outlives a failed test, as its watch does */
    struct seen seen;
    int fd;

    assert_non_null(mkdtemp(root));
    fd = open(root, O_RDONLY | O_DIRECTORY);
    assert_int_equal(mkdirat(fd, "outside", 0755), 0);
    write_text(fd, "outside/precious", "x");
    data = xasprintf("%s/data", root);
    settings.docker_data_dir = data;
    bench_open(&own, &settings);

    must_start(&own, &spec, &seen);
    assert_int_equal(guest_call(&seen, "POST", "/files/write", "{\"path\":\"kept.txt\",\"content\":\"x\"}", NULL), 200);
    must_stop(&own, key);
    cleanup_free char *home = xasprintf("data/%s", name_of(key)), *file = xasprintf("%s/kept.txt", home), *link = xasprintf("%s/link", home);
    assert_int_equal(faccessat(fd, file, F_OK, 0), 0);
    assert_false(volume_exists(&own, key));
    assert_int_equal(symlinkat("../../outside", fd, link), 0);
    assert_int_equal(own.backend->ops->wipe(own.backend, &ref, &err), 0);
    assert_int_equal(faccessat(fd, file, F_OK, 0), -1);
    assert_int_equal(faccessat(fd, "outside/precious", F_OK, 0), 0);

    cleanup_free char *planted_home = xasprintf("data/%s", name_of(planted));
    assert_int_equal(symlinkat("../outside", fd, planted_home), 0);
    spec.key = ref.key = planted;
    assert_int_equal(own.backend->ops->start(own.backend, &spec, &err), -1);
    print_message("  %s\n", err.text);
    assert_int_equal(own.backend->ops->wipe(own.backend, &ref, &err), -1);
    assert_int_equal(faccessat(fd, "outside/precious", F_OK, 0), 0);

    bench_close(&own);
    assert_int_equal(dir_empty(fd, &err), 0);
    close(fd);
    assert_int_equal(rmdir(root), 0);
    terminal_key_free(key);
    terminal_key_free(planted);
}

static void the_directory_of_the_original_stays_the_home(void **state)
{
    char root[] = "/tmp/engine-test-XXXXXX";
    struct terminal_key *key = test_key("legacy", "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct settings settings = { .docker_data_dir = root };
    cleanup_free char *read = NULL, *file = xasprintf("%s/old.txt", key->user_id);
    struct error err;
    static struct bench own;            /* outlives a failed test, as its watch does */
    struct seen seen;
    int fd;

    assert_non_null(mkdtemp(root));
    fd = open(root, O_RDONLY | O_DIRECTORY);
    assert_int_equal(mkdirat(fd, key->user_id, 0755), 0);
    write_text(fd, file, "from before");
    bench_open(&own, &settings);
    must_start(&own, &spec, &seen);
    assert_int_equal(guest_call(&seen, "GET", "/files/read?path=old.txt", NULL, &read), 200);
    assert_non_null(strstr(read, "from before"));
    must_stop(&own, key);
    bench_close(&own);
    assert_int_equal(dir_empty(fd, &err), 0);
    close(fd);
    assert_int_equal(rmdir(root), 0);
    terminal_key_free(key);
}

/* --- the watch ----------------------------------------------------------------------------------------------- */

static void running_guests_are_found_again_after_a_restart_of_ours(void **state)
{
    struct terminal_key *key = test_key("restart", "pol icy", "automation:7");
    struct terminal_spec spec = spec_for(key);
    struct seen before, after;
    static struct bench own;            /* outlives a failed test, as its watch does */

    must_start(&bench, &spec, &before);
    bench_open(&own, NULL);
    assert_true(wait_for_phase(&own, name_of(key), OBSERVED_RUNNING, &after));
    assert_int_equal(own.recorder.listings, 1);
    assert_string_equal(after.id, before.id);
    assert_string_equal(after.guest_key, "key-of-the-guest");
    assert_string_equal(after.endpoint.host, before.endpoint.host);
    assert_string_equal(after.user_id, key->user_id);
    bench_close(&own);
    must_stop(&bench, key);
    terminal_key_free(key);
}

static void an_engine_that_is_away_makes_nothing_absent(void **state)
{
    cleanup_free char *before = getenv("DOCKER_HOST") ? xstrdup(getenv("DOCKER_HOST")) : NULL;
    struct error err = { 0 };
    struct terminal_key *key = test_key("away", "default", "default");
    struct terminal_spec spec = spec_for(key);
    int64_t begin;
    static struct bench own;            /* outlives a failed test, as its watch does */

    assert_int_equal(setenv("DOCKER_HOST", "unix:///tmp/engine-test-no-such.sock", 1), 0);
    bench_open(&own, NULL);
    assert_true(own.recorder.unreachable_once);
    print_message("  %s\n", own.recorder.why);
    assert_int_equal(own.recorder.listings, 0);
    assert_int_equal(own.recorder.seen.count, 0);
    assert_int_equal(own.backend->ops->start(own.backend, &spec, &err), -1);
    assert_int_equal(err.class, ERR_UNAVAILABLE);
    begin = clock_monotonic_ms();
    bench_close(&own);
    assert_in_range(clock_monotonic_ms() - begin, 0, 3000);
    if (before)
        (void)setenv("DOCKER_HOST", before, 1);
    else
        (void)unsetenv("DOCKER_HOST");
    terminal_key_free(key);
}

struct worker {
    unsigned number;
    pthread_t thread;
    int failures;
};

static void note_failure(struct worker *worker, const char *what, const struct error *err)
{
    print_error("worker %u, %s: %s\n", worker->number, what, err->text[0] ? err->text : "not observed");
    worker->failures++;
}

static void *start_and_stop(void *argument)
{
    struct worker *worker = argument;
    cleanup_free char *suffix = xasprintf("side-%u", worker->number);
    struct terminal_key *key = test_key(suffix, "default", "default");
    struct terminal_spec spec = spec_for(key);
    struct terminal_ref ref = { .key = key };
    struct error err;

    for (int i = 0; i < 2; i++) {
        err = (struct error){ 0 };
        if (bench.backend->ops->start(bench.backend, &spec, &err) < 0 || !wait_for_phase(&bench, name_of(key), OBSERVED_RUNNING, NULL))
            note_failure(worker, "start", &err);
        if (bench.backend->ops->stop(bench.backend, &ref, 1, &err) < 0 || !wait_for_phase(&bench, name_of(key), OBSERVED_ABSENT, NULL))
            note_failure(worker, "stop", &err);
    }
    terminal_key_free(key);
    return NULL;
}

static void starts_and_stops_run_side_by_side(void **state)
{
    struct worker workers[4] = { 0 };

    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        workers[i].number = i;
        workers[i].thread = thread_start("worker", start_and_stop, &workers[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
}

static void api_version_lies_in_the_range_that_is_known(void **state)
{
    char version[16];
    uint64_t minor;

    assert_int_equal(engine_raw(&bench, "GET", "/info", NULL, NULL), 200);
    engine_api_version(bench.engine, version);
    assert_int_equal(strncmp(version, "1.", 2), 0);
    assert_true(str_to_u64(str_from(version + 2), &minor));
    assert_in_range(minor, 40, 99);
}

static void count_good(void *context, const struct check_result *result)
{
    print_message("  %s %s: %s\n", result->ok ? "ok " : "BAD", result->what, result->detail);
    *(int *)context += result->ok ? 1 : -100;
}

static void doctor_finds_this_engine_healthy(void **state)
{
    int good = 0;

    bench.backend->ops->check(bench.backend, count_good, &good);
    assert_int_equal(good, 4);
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static int open_all(void **state)
{
    http_client_global_init();
    bench_open(&bench, NULL);
    if (bench.recorder.listings == 0) {
        print_error("no engine to test against: %s\n", bench.recorder.why);
        return -1;
    }
    clean_up(bench.engine);
    return 0;
}

static int close_all(void **state)
{
    clean_up(bench.engine);
    bench_close(&bench);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_version_lies_in_the_range_that_is_known),
        cmocka_unit_test(doctor_finds_this_engine_healthy),
        cmocka_unit_test(home_is_kept_by_stop_and_emptied_by_wipe),
        cmocka_unit_test(guests_sit_apart_on_the_managed_bridge_and_publish_on_no_other_address),
        cmocka_unit_test(limits_reach_the_container),
        cmocka_unit_test(a_storage_size_that_the_driver_cannot_hold_is_dropped),
        cmocka_unit_test(a_running_container_of_the_key_is_adopted_with_its_own_guest_key),
        cmocka_unit_test(a_container_of_the_original_is_adopted_under_its_own_name),
        cmocka_unit_test(containers_that_are_not_ours_are_left_alone),
        cmocka_unit_test(what_ended_or_never_started_is_replaced),
        cmocka_unit_test(a_running_guest_that_cannot_be_used_is_left_until_its_user_comes),
        cmocka_unit_test(a_paused_guest_is_woken),
        cmocka_unit_test(what_happens_from_outside_is_observed),
        cmocka_unit_test(a_guest_that_crashes_tells_why),
        cmocka_unit_test(failed_starts_say_what_to_do_and_leave_nothing),
        cmocka_unit_test(a_failed_start_keeps_a_home_that_was_there),
        cmocka_unit_test(a_volume_of_another_key_is_neither_used_nor_wiped),
        cmocka_unit_test(named_networks_are_used_as_they_are),
        cmocka_unit_test(a_full_network_is_told_as_such),
        cmocka_unit_test(a_missing_image_is_pulled_once_for_all_who_wait),
        cmocka_unit_test(directories_hold_homes_and_links_in_them_lead_nowhere),
        cmocka_unit_test(the_directory_of_the_original_stays_the_home),
        cmocka_unit_test(running_guests_are_found_again_after_a_restart_of_ours),
        cmocka_unit_test(an_engine_that_is_away_makes_nothing_absent),
        cmocka_unit_test(starts_and_stops_run_side_by_side),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
