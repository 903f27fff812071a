/* The settings (orchestrator.md §5): what is read from where, what is refused and how it is said. Each case runs in an
 * empty directory of its own with no TERMINALS_ variable set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "settings/settings.h"

struct outcome {
    struct settings *settings;
    struct buf problems, warnings;
};

static void outcome_free(struct outcome *outcome)
{
    settings_free(outcome->settings);
    buf_free(&outcome->problems);
    buf_free(&outcome->warnings);
}
#define cleanup_outcome __attribute__((cleanup(outcome_free)))

static const char *text_of(struct buf *buf)
{
    buf_append_char(buf, '\0');
    buf->len--;
    return buf->data;
}

static struct outcome load(const struct settings_options *options)
{
    struct outcome outcome = { 0 };
    outcome.settings = settings_load(options, &outcome.problems, &outcome.warnings);
    (void)text_of(&outcome.problems);
    (void)text_of(&outcome.warnings);
    return outcome;
}

static void set(const char *name, const char *value)
{
    cleanup_free char *variable = xasprintf("TERMINALS_%s", name);
    assert_int_equal(setenv(variable, value, 1), 0);
}

static void write_dotenv(const char *text)
{
    FILE *file = fopen(".env", "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Everything that `settings_print` writes; the caller frees. */
static char *printed(const struct settings *settings)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    settings_print(settings, out);
    fclose(out);
    return text;
}

static char directory[64];

static void clear_environment(void)
{
    for (char **entry = environ; *entry;) {
        if (strncasecmp(*entry, "TERMINALS_", 10) != 0) {
            entry++;
            continue;
        }
        cleanup_free char *name = xstrndup(*entry, strcspn(*entry, "="));
        unsetenv(name);
        entry = environ;
    }
    unsetenv("STATE_DIRECTORY");
    unsetenv("OPEN_TERMINAL_SYSTEM_PROMPT");
}

static int set_up(void **state)
{
    clear_environment();
    snprintf(directory, sizeof(directory), "/tmp/terminals-settings-XXXXXX");
    return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct error err;
    int dir = dir_open(directory, &err);
    if (dir < 0 || dir_empty(dir, &err) < 0)
        return -1;
    close(dir);
    return chdir("/") == 0 && rmdir(directory) == 0 ? 0 : -1;
}

/* --- defaults ------------------------------------------------------------------------------------------------ */

static void defaults_are_those_of_the_contract(void **state)
{
    cleanup_outcome struct outcome o = load(NULL);
    cleanup_free char *state_dir = xasprintf("%s/data", directory);
    cleanup_free char *url = xasprintf("sqlite:///%s/data/terminals.db", directory);
    assert_non_null(o.settings);
    assert_string_equal(text_of(&o.warnings), "");
    assert_int_equal(o.settings->backend, BACKEND_DOCKER);
    assert_string_equal(o.settings->host, "0.0.0.0");
    assert_false(o.settings->host_is_named);
    assert_int_equal(o.settings->port, 3000);
    assert_true(o.settings->workers >= 1);
    assert_true(o.settings->enable_ui);
    assert_true(o.settings->metrics_auth);
    assert_false(o.settings->access_log);
    assert_string_equal(o.settings->image, "ghcr.io/open-webui/open-terminal:latest");
    assert_int_equal(o.settings->idle_timeout_minutes, 0);
    assert_int_equal(o.settings->idle_cleanup_timeout_s, 120);
    assert_int_equal(o.settings->refresh_idle_s, 60);
    assert_int_equal(o.settings->start_timeout_s, 120);
    assert_int_equal(o.settings->status_cache_ttl_s, 30);
    assert_int_equal(o.settings->token_cache_ttl_s, 60);
    assert_int_equal(o.settings->connect_timeout_s, 10);
    assert_int_equal(o.settings->read_timeout_s, 360);
    assert_int_equal(o.settings->write_timeout_s, 300);
    assert_int_equal(o.settings->pool_timeout_s, 300);
    assert_string_equal(o.settings->docker_address, "127.0.0.1");
    assert_string_equal(o.settings->kubernetes_namespace, "terminals");
    assert_string_equal(o.settings->kubernetes_storage_size, "1Gi");
    assert_string_equal(o.settings->kubernetes_storage_mode, "per-user");
    assert_string_equal(o.settings->kubernetes_service_type, "ClusterIP");
    assert_string_equal(o.settings->kubernetes_crd_group, "openwebui.com");
    assert_string_equal(o.settings->kubernetes_crd_version, "v1alpha1");
    assert_int_equal(o.settings->log_level, LOG_INFO);
    assert_false(o.settings->log_json);
    assert_null(o.settings->max_cpu);
    assert_null(o.settings->open_webui_url);
    assert_int_equal(o.settings->api_keys.count, 0);
    assert_int_equal(o.settings->cors_allowed_origins.count, 0);
    if (access("/app/data", F_OK) != 0) {
        assert_string_equal(o.settings->state_dir, state_dir);
        assert_string_equal(o.settings->database_url, url);
    }
}

static void every_variable_reaches_its_member(void **state)
{
    set("BACKEND", "Kubernetes-Operator");
    set("API_KEY", " one , two ,");
    set("OPEN_WEBUI_URL", "https://chat.example.com//");
    set("HOST", "::1");
    set("PORT", "8080");
    set("WORKERS", "7");
    set("ENABLE_UI", "no");
    set("IMAGE", "example/image:1");
    set("MAX_CPU", "4000m");
    set("MAX_MEMORY", "2Gi");
    set("MAX_STORAGE", "10G");
    set("ALLOWED_IMAGES", "ghcr.io/*, docker.io/x:?");
    set("IDLE_TIMEOUT_MINUTES", "-5");
    set("IDLE_CLEANUP_TIMEOUT_SECONDS", "5");
    set("DATABASE_URL", "sqlite+aiosqlite:////tmp/x.db");
    set("LOG_LEVEL", "debug");
    set("LOG_FORMAT", "JSON");
    set("STATUS_CACHE_TTL", "0");
    set("TOKEN_CACHE_TTL", "0");
    set("ACCESS_LOG", "on");
    set("METRICS_AUTH", "0");
    set("CORS_ALLOWED_ORIGINS", "https://a.example,http://localhost:5173");
    set("PROXY_CONNECT_TIMEOUT_SECONDS", "2.5");
    set("PROXY_READ_TIMEOUT_SECONDS", "20.0");
    set("PROXY_WRITE_TIMEOUT_SECONDS", "21");
    set("PROXY_POOL_TIMEOUT_SECONDS", "22");
    set("START_TIMEOUT_SECONDS", "33");
    set("REFRESH_IDLE_SECONDS", "0");
    set("MAX_TERMINALS", "1");
    set("MAX_TERMINALS_PER_USER", "2");
    set("MAX_STARTS", "3");
    set("MAX_CONNECTIONS", "4");
    set("MAX_UNAUTHENTICATED_WEBSOCKETS", "5");
    set("MAX_UNAUTHENTICATED_WEBSOCKETS_PER_ADDRESS", "6");
    set("DOCKER_HOST", "192.0.2.1");
    set("NETWORK", "a,b");
    set("DATA_DIR", "homes");
    set("DOCKER_HOST_DATA_DIR", "/srv/homes");
    set("KUBERNETES_NAMESPACE", "guests");
    set("KUBERNETES_LABELS", "team=data, tier=gold");
    set("KUBERNETES_RESTRICTED", "true");
    set("KUBERNETES_POD_SECURITY_CONTEXT", "{\"fsGroup\":1000}");
    set("KUBERNETES_NODE_SELECTOR", "{\"disk\":\"ssd\"}");
    set("KUBERNETES_TOLERATIONS", "[{\"key\":\"x\"}]");
    set("KUBERNETES_ADDRESS", "service");
    set("KUBERNETES_STORAGE_MODE", "shared-rwo");
    set("OPERATOR_NAMESPACES", "a,b");
    setenv("OPEN_TERMINAL_SYSTEM_PROMPT", " be kind\n", 1);
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(text_of(&o.problems), "");
    assert_string_equal(text_of(&o.warnings), "");
    const struct settings *s = o.settings;
    assert_int_equal(s->backend, BACKEND_KUBERNETES_OPERATOR);
    assert_int_equal(s->api_keys.count, 2);
    assert_string_equal(s->api_keys.items[0], "one");
    assert_string_equal(s->api_keys.items[1], "two");
    assert_string_equal(s->open_webui_url, "https://chat.example.com");
    assert_string_equal(s->host, "::1");
    assert_true(s->host_is_named);
    assert_int_equal(s->port, 8080);
    assert_int_equal(s->workers, 7);
    assert_false(s->enable_ui);
    assert_string_equal(s->image, "example/image:1");
    assert_string_equal(s->max_cpu, "4000m");
    assert_string_equal(s->max_memory, "2Gi");
    assert_string_equal(s->max_storage, "10G");
    assert_int_equal(s->allowed_images.count, 2);
    assert_string_equal(s->allowed_images.items[1], "docker.io/x:?");
    assert_int_equal(s->idle_timeout_minutes, -5);
    assert_int_equal(s->idle_cleanup_timeout_s, 5);
    assert_string_equal(s->database_url, "sqlite+aiosqlite:////tmp/x.db");
    assert_int_equal(s->log_level, LOG_DEBUG);
    assert_true(s->log_json);
    assert_int_equal(s->status_cache_ttl_s, 0);
    assert_int_equal(s->token_cache_ttl_s, 0);
    assert_true(s->access_log);
    assert_false(s->metrics_auth);
    assert_int_equal(s->cors_allowed_origins.count, 2);
    assert_int_equal(s->connect_timeout_s, 3);
    assert_int_equal(s->read_timeout_s, 20);
    assert_int_equal(s->write_timeout_s, 21);
    assert_int_equal(s->pool_timeout_s, 22);
    assert_int_equal(s->start_timeout_s, 33);
    assert_int_equal(s->refresh_idle_s, 0);
    assert_int_equal(s->max_terminals, 1);
    assert_int_equal(s->max_terminals_per_user, 2);
    assert_int_equal(s->max_starts, 3);
    assert_int_equal(s->max_connections, 4);
    assert_int_equal(s->max_unauthenticated_websockets, 5);
    assert_int_equal(s->max_unauthenticated_websockets_per_address, 6);
    assert_string_equal(s->docker_address, "192.0.2.1");
    assert_int_equal(s->docker_networks.count, 2);
    cleanup_free char *homes = xasprintf("%s/homes", directory);
    assert_string_equal(s->docker_data_dir, homes);
    assert_string_equal(s->docker_host_data_dir, "/srv/homes");
    assert_string_equal(s->kubernetes_namespace, "guests");
    assert_string_equal(json_string_value(json_object_get(s->kubernetes_labels, "tier")), "gold");
    assert_true(s->restricted);
    assert_int_equal(json_integer_value(json_object_get(s->kubernetes_pod_security_context, "fsGroup")), 1000);
    assert_string_equal(json_string_value(json_object_get(s->kubernetes_node_selector, "disk")), "ssd");
    assert_int_equal(json_array_size(s->kubernetes_tolerations), 1);
    assert_string_equal(s->kubernetes_address, "service");
    assert_string_equal(s->kubernetes_storage_mode, "shared-rwo");
    assert_int_equal(s->operator_namespaces.count, 2);
    assert_string_equal(s->system_prompt, " be kind\n");
}

/* --- refusals ------------------------------------------------------------------------------------------------ */

static const struct refusal {
    const char *name, *value, *says;
} refusals[] = {
    { "BACKEND", "podman", "TERMINALS_BACKEND=podman: must be docker, kubernetes or kubernetes-operator\n" },
    { "PORT", "99999", "TERMINALS_PORT=99999: must be a whole number from 0 to 65535\n" },
    { "PORT", "80x", "TERMINALS_PORT=80x: must be a whole number" },
    { "WORKERS", "0", "TERMINALS_WORKERS=0: must be a whole number from 1 to 256\n" },
    { "ENABLE_UI", "maybe", "TERMINALS_ENABLE_UI=maybe: must be true or false" },
    { "MAX_CPU", "two", "TERMINALS_MAX_CPU=two: must be an amount of cores" },
    { "MAX_MEMORY", "2Gb", "TERMINALS_MAX_MEMORY=2Gb: must be a size" },
    { "MAX_STORAGE", "-1", "TERMINALS_MAX_STORAGE=-1: must be a size" },
    { "KUBERNETES_STORAGE_SIZE", "big", "TERMINALS_KUBERNETES_STORAGE_SIZE=big: must be a size" },
    { "IDLE_TIMEOUT_MINUTES", "1.5", "TERMINALS_IDLE_TIMEOUT_MINUTES=1.5: must be a whole number" },
    { "START_TIMEOUT_SECONDS", "0", "must be a number of seconds from 1 to 86400\n" },
    { "START_TIMEOUT_SECONDS", "1e3", "must be a number of seconds" },
    { "START_TIMEOUT_SECONDS", "1.2.3", "must be a number of seconds" },
    { "START_TIMEOUT_SECONDS", ".", "must be a number of seconds" },
    { "OPEN_WEBUI_URL", "chat.example.com", "TERMINALS_OPEN_WEBUI_URL=chat.example.com: must be a URL" },
    { "OPEN_WEBUI_URL", "https:///x", "must be a URL" },
    { "DATABASE_URL", "mysql://x/y", "must begin with sqlite:///" },
    { "DATABASE_URL", "sqlite:///", "must begin with sqlite:///" },
    { "API_KEY", " , ", "TERMINALS_API_KEY=********: holds nothing but commas and spaces\n" },
    { "API_KEY", "se cret", "TERMINALS_API_KEY=********: a key must not hold spaces" },
    { "LOG_FORMAT", "xml", "TERMINALS_LOG_FORMAT=xml: must be text or json\n" },
    { "CORS_ALLOWED_ORIGINS", "https://a.example/path", "must be a comma-separated list of origins" },
    { "DOCKER_HOST", "unix:///var/run/docker.sock", "the engine's own address is named by DOCKER_HOST" },
    { "DOCKER_HOST_DATA_DIR", "homes", "must be an absolute path" },
    { "KUBERNETES_NAMESPACE", "No", "must be 1 to 63 lower-case letters" },
    { "KUBERNETES_STORAGE_MODE", "mine", "must be per-user, shared or shared-rwo\n" },
    { "KUBERNETES_SERVICE_TYPE", "None", "must be ClusterIP, NodePort or LoadBalancer\n" },
    { "KUBERNETES_LABELS", "team", "must be a list such as" },
    { "KUBERNETES_LABELS", "team=-x", "'-x' is not a label value" },
    { "KUBERNETES_LABELS", "/x=y", "'/x' is not a label key" },
    { "KUBERNETES_POD_SECURITY_CONTEXT", "[]", "must be a JSON object\n" },
    { "KUBERNETES_CONTAINER_SECURITY_CONTEXT", "{", "must be a JSON object: " },
    { "KUBERNETES_NODE_SELECTOR", "{\"disk\":1}", "the value of 'disk' must be a text" },
    { "KUBERNETES_TOLERATIONS", "{}", "must be a JSON array of tolerations\n" },
    { "KUBERNETES_TOLERATIONS", "[1]", "entry 0 is not an object" },
    { "KUBERNETES_ADDRESS", "dns", "must be pod or service\n" },
    { "REPLAY_BODY_LIMIT", "lots", "must be a whole number" },
    { "DOCKER_MOUNTS", "[", "TERMINALS_DOCKER_MOUNTS=[: must be a JSON array" },
    { "DOCKER_MOUNTS", "{}", "must be a JSON array of {\"source\", \"target\", \"readOnly\"}\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/b\"},7]", "entry 1: not an object\n" },
    { "DOCKER_MOUNTS", "[{\"target\":\"/b\"}]", "entry 0: 'source' is missing or not a text\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\"}]", "entry 0: 'target' is missing or not a text\n" },
    { "DOCKER_MOUNTS", "[{\"source\":5,\"target\":\"/b\"}]", "'source' is missing or not a text\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"a\",\"target\":\"/b\"}]", "'source' must be an absolute path, not 'a'\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"b\"}]", "'target' must be an absolute path, not 'b'\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"~/b\"}]", "'target' must be an absolute path, not '~/b'\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/b\",\"readOnly\":\"no\"}]", "entry 0: 'readOnly' must be true or false\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/\"}]", "the target '/' is unsafe" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/etc\"}]", "the target '/etc' is unsafe" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/home/user/x\"}]", "the target '/home/user/x' is unsafe" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/mnt/../usr//lib\"}]", "the target '/usr/lib' is unsafe" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/b\"},{\"source\":\"/c\",\"target\":\"/b/c\"}]",
      "entry 1: the target '/b/c' overlaps '/b' of entry 0\n" },
    { "DOCKER_MOUNTS", "[{\"source\":\"/a\",\"target\":\"/b/c\"},{\"source\":\"/c\",\"target\":\"/b\"}]", "overlaps '/b/c'" },
};

static void an_unreadable_value_is_refused_by_name_value_and_what_is_allowed(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        clear_environment();
        set(refusals[i].name, refusals[i].value);
        cleanup_outcome struct outcome o = load(NULL);
        if (o.settings || !strstr(text_of(&o.problems), refusals[i].says))
            fail_msg("%s=%s gives: %s", refusals[i].name, refusals[i].value, text_of(&o.problems));
    }
}

static void all_problems_are_shown_at_once(void **state)
{
    write_dotenv("TERMINALS_LOG_FORMAT=xml\nTERMINALS_MAX_CPU='x\n");
    set("PORT", "x");
    set("BACKEND", "y");
    set("MAX_MEMORY", "\x01z");
    setenv("TERMINALS_IMAGE", "\xff", 1);
    cleanup_outcome struct outcome o = load(NULL);
    assert_null(o.settings);
    static const char *const parts[] = { "TERMINALS_PORT=x: ", "TERMINALS_BACKEND=y: ", "TERMINALS_MAX_MEMORY= z: ",
        "TERMINALS_LOG_FORMAT=xml (in .env): ", ".env line 2: the quote is never closed\n",
        "TERMINALS_IMAGE: the value is not UTF-8 text\n" };
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        assert_non_null(strstr(text_of(&o.problems), parts[i]));
}

/* --- docker mounts ------------------------------------------------------------------------------------------- */

static void mounts_are_read_with_home_expanded_and_read_only_by_default(void **state)
{
    setenv("HOME", "/root", 1);
    set("DOCKER_MOUNTS", "[{\"source\":\"~/share\",\"target\":\"/mnt/share/\"},"
        "{\"source\":\"~\",\"target\":\"/mnt/homes\",\"readOnly\":false},{\"source\":\"~root/x\",\"target\":\"/homework\"}]");
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(text_of(&o.problems), "");
    assert_int_equal(o.settings->docker_mount_count, 3);
    assert_string_equal(o.settings->docker_mounts[0].source, "/root/share");
    assert_string_equal(o.settings->docker_mounts[0].target, "/mnt/share");
    assert_true(o.settings->docker_mounts[0].read_only);
    assert_string_equal(o.settings->docker_mounts[1].source, "/root");
    assert_false(o.settings->docker_mounts[1].read_only);
    assert_string_equal(o.settings->docker_mounts[2].source, "/root/x");
}

/* --- where values come from ---------------------------------------------------------------------------------- */

static void the_environment_wins_over_dotenv(void **state)
{
    write_dotenv("TERMINALS_PORT=1111\nexport TERMINALS_IMAGE=\"from/dotenv\" # why\nOTHER=1\n");
    set("PORT", "2222");
    cleanup_outcome struct outcome o = load(NULL);
    assert_non_null(o.settings);
    assert_int_equal(o.settings->port, 2222);
    assert_string_equal(o.settings->image, "from/dotenv");
    assert_string_equal(text_of(&o.warnings), "");
}

static const struct hiding {
    const char *rule, *dotenv, *name, *value, *shown;
} hidings[] = {
    { "an empty URL switches off", "TERMINALS_OPEN_WEBUI_URL=https://x.example\n", "OPEN_WEBUI_URL", "", "TERMINALS_OPEN_WEBUI_URL=  # default\n" },
    { "an empty flag is the default", "TERMINALS_OPEN=true\n", "OPEN", "", "TERMINALS_OPEN=false  # default\n" },
    { "an empty number is the default", "TERMINALS_PORT=1\n", "PORT", "", "TERMINALS_PORT=3000  # default\n" },
    { "an empty text is the default", "TERMINALS_IMAGE=x\n", "IMAGE", "",
      "TERMINALS_IMAGE=ghcr.io/open-webui/open-terminal:latest  # default\n" },
    { "a blank text too", "TERMINALS_HOST=::1\n", "HOST", " ", "TERMINALS_HOST=0.0.0.0  # default\n" },
    { "an empty key", "TERMINALS_API_KEY=k\n", "API_KEY", "", "TERMINALS_API_KEY=  # default\n" },
    { "names compare without case", "terminals_max_cpu=2\n", "MAX_CPU", "", "TERMINALS_MAX_CPU=  # default\n" },
    { "by the alias", "TERMINALS_DOCKER_NETWORK=a\n", "NETWORK", "", "TERMINALS_DOCKER_NETWORK=  # default\n" },
    { "the alias", "TERMINALS_NETWORK=a\n", "DOCKER_NETWORK", "", "TERMINALS_DOCKER_NETWORK=  # default\n" },
    { "an alias with a value", "TERMINALS_DOCKER_NETWORK=a\n", "NETWORK", "b", "TERMINALS_DOCKER_NETWORK=b\n" },
    { "an empty name leaves an alias of .env to itself", "TERMINALS_DOCKER_NETWORK=\nTERMINALS_NETWORK=a\n", "PORT", "",
      "TERMINALS_DOCKER_NETWORK=a  # .env\n" },
    { "a service link hides nothing", "TERMINALS_PORT=1\n", "PORT", "tcp://10.0.0.1:3000", "TERMINALS_PORT=1  # .env\n" },
    { "the later line of .env wins, also an empty one", "TERMINALS_PORT=1\nTERMINALS_PORT=\n", "IMAGE", "", "TERMINALS_PORT=3000  # default\n" },
};

static void an_empty_variable_hides_the_one_in_dotenv(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hidings); i++) {
        clear_environment();
        write_dotenv(hidings[i].dotenv);
        set(hidings[i].name, hidings[i].value);
        cleanup_outcome struct outcome o = load(NULL);
        cleanup_free char *text = o.settings ? printed(o.settings) : xstrdup(text_of(&o.problems));
        if (!strstr(text, hidings[i].shown))
            fail_msg("%s: %s", hidings[i].rule, text);
    }
}

static void an_empty_name_yields_to_the_alias(void **state)
{
    set("DOCKER_DATA_DIR", " ");
    set("DATA_DIR", "/one");
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(o.settings->docker_data_dir, "/one");
    assert_string_equal(text_of(&o.warnings), "");
}

static void options_win_over_the_environment(void **state)
{
    set("PORT", "2222");
    set("API_KEY", "a");
    cleanup_outcome struct outcome o = load(&(struct settings_options){
        .host = "localhost", .api_key = "b", .port = 4444, .workers = 3 });
    assert_non_null(o.settings);
    assert_int_equal(o.settings->port, 4444);
    assert_int_equal(o.settings->workers, 3);
    assert_string_equal(o.settings->host, "localhost");
    assert_true(o.settings->host_is_named);
    assert_string_equal(o.settings->api_keys.items[0], "b");
}

static void a_wrong_option_is_refused_by_its_own_name(void **state)
{
    cleanup_outcome struct outcome o = load(&(struct settings_options){ .port = 70000, .workers = -1 });
    assert_null(o.settings);
    assert_string_equal(text_of(&o.problems), "--port 70000: must be a whole number from 0 to 65535\n");
}

static void an_empty_value_counts_as_not_given(void **state)
{
    set("PORT", "");
    set("MAX_CPU", "");
    set("API_KEY", "");
    cleanup_outcome struct outcome o = load(NULL);
    assert_non_null(o.settings);
    assert_int_equal(o.settings->port, 3000);
    assert_null(o.settings->max_cpu);
}

/* Blank texts must leave every text and path as if it had not been named, whether it has a default or none. */
static void blank_texts_count_as_not_given(void **state)
{
    static const char *const names[] = {
        "STATE_DIR", "DATABASE_URL", "OPEN_WEBUI_URL", "HOST", "IMAGE", "MAX_CPU", "MAX_MEMORY", "MAX_STORAGE", "DOCKER_HOST",
        "DOCKER_DATA_DIR", "DATA_DIR", "DOCKER_HOST_DATA_DIR", "KUBERNETES_NAMESPACE", "KUBERNETES_IMAGE", "KUBERNETES_STORAGE_CLASS",
        "KUBERNETES_STORAGE_SIZE", "KUBERNETES_STORAGE_MODE", "KUBERNETES_SERVICE_TYPE", "KUBERNETES_ADDRESS", "KUBERNETES_KUBECONFIG",
        "KUBERNETES_CRD_GROUP", "KUBERNETES_CRD_VERSION",
    };
    static const char *const blanks[] = { "", " ", " \t " };
    cleanup_outcome struct outcome plain = load(NULL);
    cleanup_free char *expected = printed(plain.settings);
    for (size_t i = 0; i < COUNT_OF(names) * COUNT_OF(blanks) * 2; i++) {
        const char *name = names[i / 2 / COUNT_OF(blanks)], *blank = blanks[i / 2 % COUNT_OF(blanks)];
        cleanup_free char *line = xasprintf("TERMINALS_%s='%s'\n", name, blank);
        clear_environment();
        write_dotenv(i % 2 ? line : "");
        if (i % 2 == 0)
            set(name, blank);
        cleanup_outcome struct outcome o = load(NULL);
        cleanup_free char *text = o.settings ? printed(o.settings) : xstrdup(text_of(&o.problems));
        if (!o.settings || !o.settings->host || !o.settings->image || !o.settings->state_dir || !o.settings->database_url ||
            strcmp(text, expected) != 0)
            fail_msg("%s='%s' %s: %s", name, blank, i % 2 ? "in .env" : "in the environment", text);
    }
}

static void a_blank_host_option_counts_as_not_given(void **state)
{
    set("HOST", "127.0.0.2");
    cleanup_outcome struct outcome named = load(&(struct settings_options){ .host = " ", .port = -1, .workers = -1 });
    assert_string_equal(named.settings->host, "127.0.0.2");
    clear_environment();
    cleanup_outcome struct outcome unnamed = load(&(struct settings_options){ .host = "", .port = -1, .workers = -1, .open = true });
    assert_string_equal(unnamed.settings->host, "127.0.0.1");
    assert_false(unnamed.settings->host_is_named);
}

static void an_empty_key_option_is_a_mistake(void **state)
{
    cleanup_outcome struct outcome o = load(&(struct settings_options){ .api_key = "", .port = -1, .workers = -1 });
    assert_null(o.settings);
    assert_string_equal(text_of(&o.problems), "--api-key ********: holds nothing but commas and spaces\n");
}

static void names_compare_without_case(void **state)
{
    setenv("terminals_port", "1234", 1);
    cleanup_outcome struct outcome o = load(NULL);
    assert_int_equal(o.settings->port, 1234);
}

static void the_alias_yields_to_the_name(void **state)
{
    set("DATA_DIR", "/one");
    set("DOCKER_DATA_DIR", "/two");
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(o.settings->docker_data_dir, "/two");
    assert_string_equal(text_of(&o.warnings), "TERMINALS_DATA_DIR is ignored: TERMINALS_DOCKER_DATA_DIR is set too\n");
}

/* --- warnings ------------------------------------------------------------------------------------------------ */

static const struct warning {
    const char *name, *value, *says;
} warnings[] = {
    { "PROT", "1", "TERMINALS_PROT is not a known setting and is ignored\n" },
    { "LOG_LEVEL", "LOUD", "TERMINALS_LOG_LEVEL=LOUD is not known, INFO is used" },
    { "WS_COMPRESSION", "true", "TERMINALS_WS_COMPRESSION is ignored" },
    { "WS_COMPRESSION", "false", "" },
    { "REPLAY_BODY_LIMIT", "1048576", "TERMINALS_REPLAY_BODY_LIMIT is ignored: bodies are streamed\n" },
    { "PORT", "tcp://10.0.0.1:3000", "TERMINALS_PORT=tcp://10.0.0.1:3000 is ignored: it describes a service" },
    { "PORT_3000_TCP_ADDR", "10.0.0.1", "" },
    { "SERVICE_HOST", "10.0.0.1", "" },
    { "DOCKER_HOST_DATA_DIR", "/x", "TERMINALS_DOCKER_HOST_DATA_DIR is ignored: it needs TERMINALS_DOCKER_DATA_DIR\n" },
};

static void ignored_values_are_warned_about(void **state)
{
    for (size_t i = 0; i < COUNT_OF(warnings); i++) {
        clear_environment();
        set(warnings[i].name, warnings[i].value);
        cleanup_outcome struct outcome o = load(NULL);
        if (!o.settings || !strstr(text_of(&o.warnings), warnings[i].says) ||
            (warnings[i].says[0] == '\0' && o.warnings.len > 0))
            fail_msg("%s=%s: %s%s", warnings[i].name, warnings[i].value, text_of(&o.problems), text_of(&o.warnings));
    }
}

/* --- open mode ----------------------------------------------------------------------------------------------- */

static void open_mode_listens_on_loopback_unless_the_host_is_named(void **state)
{
    cleanup_outcome struct outcome plain = load(&(struct settings_options){ .port = -1, .workers = -1, .open = true });
    assert_true(plain.settings->open);
    assert_string_equal(plain.settings->host, "127.0.0.1");
    set("OPEN", "true");
    set("HOST", "0.0.0.0");
    cleanup_outcome struct outcome named = load(NULL);
    assert_string_equal(named.settings->host, "0.0.0.0");
    assert_true(named.settings->host_is_named);
}

static void open_has_no_effect_beside_a_key(void **state)
{
    set("OPEN", "true");
    set("API_KEY", "k");
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(o.settings->host, "0.0.0.0");
    assert_non_null(strstr(text_of(&o.warnings), "TERMINALS_OPEN has no effect: TERMINALS_API_KEY is set"));
}

/* --- the state directory ------------------------------------------------------------------------------------- */

static void the_state_directory_is_made_with_its_parents(void **state)
{
    struct stat status;
    set("STATE_DIR", "a/./b/../c");
    cleanup_outcome struct outcome o = load(NULL);
    assert_non_null(o.settings);
    assert_int_equal(stat("a/c", &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(o.settings->state_dir[0], '/');
}

static void looking_makes_no_state_directory(void **state)
{
    set("STATE_DIR", "a/b");
    cleanup_outcome struct outcome o = load(&(struct settings_options){ .port = -1, .workers = -1, .look_only = true });
    assert_non_null(o.settings);
    assert_int_equal(access("a", F_OK), -1);
}

static void a_state_directory_that_is_a_file_is_refused(void **state)
{
    write_dotenv("");
    set("STATE_DIR", ".env");
    cleanup_outcome struct outcome o = load(NULL);
    assert_null(o.settings);
    assert_non_null(strstr(text_of(&o.problems), "/.env cannot be made"));
    assert_non_null(strstr(text_of(&o.problems), "TERMINALS_STATE_DIR"));
}

static void a_read_only_state_directory_is_refused(void **state)
{
    if (geteuid() == 0)         /* root may write anywhere; the kernel's own directory refuses even root */
        set("STATE_DIR", "/proc/terminals");
    else
        set("STATE_DIR", "/terminals-state");
    cleanup_outcome struct outcome o = load(NULL);
    assert_null(o.settings);
    assert_non_null(strstr(text_of(&o.problems), "make it writable for user id"));
}

static void systemd_names_the_state_directory(void **state)
{
    if (access("/app/data", F_OK) == 0)
        skip();
    cleanup_free char *both = xasprintf("%s/one:%s/two", directory, directory);
    cleanup_free char *one = xasprintf("%s/one", directory);
    setenv("STATE_DIRECTORY", both, 1);
    cleanup_outcome struct outcome o = load(NULL);
    assert_string_equal(o.settings->state_dir, one);
}

/* --- printing ------------------------------------------------------------------------------------------------ */

static const struct masked {
    const char *url, *shown;
} masked[] = {
    { "postgresql://user:s%40cret@db/x", "TERMINALS_DATABASE_URL=postgresql://user:********@db/x\n" },
    { "postgresql://user@db/x?password=s%40cret", "TERMINALS_DATABASE_URL=postgresql://user@db/x?********\n" },
    { "postgres://u:s%40cret@a@db", "TERMINALS_DATABASE_URL=postgres://u:********@db\n" },
    { "sqlite:////tmp/a:b@c.db", "TERMINALS_DATABASE_URL=sqlite:////tmp/a:b@c.db\n" },
};

static void secrets_are_masked(void **state)
{
    for (size_t i = 0; i < COUNT_OF(masked); i++) {
        set("API_KEY", "s%40cret,other-s%40cret");
        set("DATABASE_URL", masked[i].url);
        cleanup_outcome struct outcome o = load(NULL);
        assert_non_null(o.settings);
        cleanup_free char *text = printed(o.settings);
        assert_null(strstr(text, "s%40cret"));
        assert_non_null(strstr(text, "TERMINALS_API_KEY=********\n"));
        if (!strstr(text, masked[i].shown))
            fail_msg("%s", text);
    }
}

static void what_is_printed_is_read_back_the_same(void **state)
{
    set("ALLOWED_IMAGES", "a b'c\\, d");
    set("ALLOWED_IMAGES", "x, y");
    set("KUBERNETES_LABELS", "{\"team\": \"data\"}");
    setenv("OPEN_TERMINAL_SYSTEM_PROMPT", "it's\n\"new\" \\ # no comment", 1);
    cleanup_outcome struct outcome first = load(NULL);
    assert_non_null(first.settings);
    cleanup_free char *text = printed(first.settings);
    clear_environment();
    write_dotenv(text);
    cleanup_outcome struct outcome second = load(NULL);
    assert_string_equal(text_of(&second.problems), "");
    assert_string_equal(second.settings->system_prompt, "it's\n\"new\" \\ # no comment");
    assert_string_equal(second.settings->allowed_images.items[1], "y");
    assert_non_null(strstr(text, "TERMINALS_PORT=3000  # default\n"));
}

static void the_help_names_every_variable(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    settings_print_help(out);
    fclose(out);
    assert_non_null(strstr(text, "TERMINALS_DOCKER_NETWORK (or TERMINALS_NETWORK)\n"));
    assert_non_null(strstr(text, "TERMINALS_PORT\n    the port to listen on.\n    Default: 3000\n"));
    free(text);
}

static void a_changed_setting_that_needs_a_restart_is_named(void **state)
{
    cleanup_outcome struct outcome running = load(NULL);
    set("PORT", "1");
    set("IMAGE", "other");
    cleanup_outcome struct outcome fresh = load(NULL);
    cleanup_buf struct buf lines = { 0 };
    settings_warn_restart(running.settings, fresh.settings, &lines);
    assert_string_equal(text_of(&lines), "TERMINALS_PORT was changed: it takes effect after a restart\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_are_those_of_the_contract),
        CASE(every_variable_reaches_its_member),
        CASE(an_unreadable_value_is_refused_by_name_value_and_what_is_allowed),
        CASE(all_problems_are_shown_at_once),
        CASE(mounts_are_read_with_home_expanded_and_read_only_by_default),
        CASE(the_environment_wins_over_dotenv),
        CASE(an_empty_variable_hides_the_one_in_dotenv),
        CASE(an_empty_name_yields_to_the_alias),
        CASE(options_win_over_the_environment),
        CASE(a_wrong_option_is_refused_by_its_own_name),
        CASE(an_empty_value_counts_as_not_given),
        CASE(blank_texts_count_as_not_given),
        CASE(a_blank_host_option_counts_as_not_given),
        CASE(an_empty_key_option_is_a_mistake),
        CASE(names_compare_without_case),
        CASE(the_alias_yields_to_the_name),
        CASE(ignored_values_are_warned_about),
        CASE(open_mode_listens_on_loopback_unless_the_host_is_named),
        CASE(open_has_no_effect_beside_a_key),
        CASE(the_state_directory_is_made_with_its_parents),
        CASE(looking_makes_no_state_directory),
        CASE(a_state_directory_that_is_a_file_is_refused),
        CASE(a_read_only_state_directory_is_refused),
        CASE(systemd_names_the_state_directory),
        CASE(secrets_are_masked),
        CASE(what_is_printed_is_read_back_the_same),
        CASE(the_help_names_every_variable),
        CASE(a_changed_setting_that_needs_a_restart_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
