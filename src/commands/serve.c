/* `terminals serve`: builds the parts from the settings, wires them together, waits for signals, takes them apart in the
 * opposite order. Everything here runs on the main thread. */
#include "commands/commands.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "api/documents.h"
#include "auth/auth.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/secret.h"
#include "commands/backends.h"
#include "fleet/fleet.h"
#include "gateway/gateway.h"
#include "http/client.h"
#include "settings/settings.h"
#include "store/store.h"

enum { DRAIN_MS = 30000, POOL_THREADS = 32, WAITING_THREADS = 64 };

/* The parts, in the order in which they are made. */
struct service {
    struct settings_options options;
    struct settings *first_settings;    /* the backend holds on to these */
    struct settings *settings;          /* those in force; may be the first */
    char *key;                          /* generated, or NULL */
    struct store *store;
    struct policies *policies;
    struct backend *backend;
    struct fleet *fleet;
    struct auth *auth;
    struct api *api;
    struct documents *documents;
    struct pool *pool, *token_pool, *document_pool;     /* apart, so that who waits for others does not hold up the API */
    struct gateway *gateway;
};

static void serve_help(void)
{
    puts("usage: terminals serve [--host ADDRESS] [--port PORT] [--workers N] [--api-key KEY] [--open]\n\n"
         "Serves terminals over HTTP. Settings come from TERMINALS_… variables and from .env in the working\n"
         "directory; `terminals config --help` lists them.\n\n"
         "  --host ADDRESS   listen there (TERMINALS_HOST; 0.0.0.0)\n"
         "  --port PORT      listen on this port (TERMINALS_PORT; 3000)\n"
         "  --workers N      threads that move bytes (TERMINALS_WORKERS; the number of cores)\n"
         "  --api-key KEY    the key that callers must show (TERMINALS_API_KEY; made and kept when not given)\n"
         "  --open           no key at all; listens on loopback unless --host is given");
}

static bool parse_number(const char *option, const char *text, int64_t *value)
{
    if (str_to_i64(str_from(text), value) && *value >= 0)
        return true;
    fprintf(stderr, "terminals serve: %s wants a number, not '%s'\n", option, text);
    return false;
}

/* 0: go on; 1: done (help); negative: wrong. */
static int parse_options(int argc, char **argv, struct settings_options *options)
{
    static const struct option known[] = {
        { "host", required_argument, NULL, 'h' },    { "port", required_argument, NULL, 'p' },
        { "workers", required_argument, NULL, 'w' }, { "api-key", required_argument, NULL, 'k' },
        { "open", no_argument, NULL, 'o' },          { "help", no_argument, NULL, '?' + 256 },
        { NULL, 0, NULL, 0 },
    };
    *options = (struct settings_options){ .port = -1, .workers = -1 };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'h': options->host = optarg; break;
        case 'k': options->api_key = optarg; break;
        case 'o': options->open = true; break;
        case 'p':
            if (!parse_number("--port", optarg, &options->port))
                return -1;
            break;
        case 'w':
            if (!parse_number("--workers", optarg, &options->workers))
                return -1;
            break;
        case '?' + 256: serve_help(); return 1;
        default: return -1;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "terminals serve: unexpected argument '%s'\n", argv[optind]);
        return -1;
    }
    return 0;
}

static void log_lines(enum log_level level, struct str lines)
{
    struct str line;
    while (str_next_part(&lines, '\n', &line))
        if (line.len > 0)
            log_at(level, "setting", LOG_SLICE("problem", line));
}

static void use_only_key(struct settings *settings, const char *key)
{
    settings->api_keys.items = xrealloc(settings->api_keys.items, sizeof(char *));
    settings->api_keys.items[0] = xstrdup(key);
    settings->api_keys.count = 1;
}

/* NULL after saying what is wrong. */
static struct settings *read_settings(const struct service *service)
{
    cleanup_buf struct buf problems = { 0 }, warnings = { 0 };
    struct settings *settings = settings_load(&service->options, &problems, &warnings);
    if (settings)
        log_configure(settings->log_level, settings->log_json);
    log_lines(LOG_WARNING, buf_str(&warnings));
    log_lines(LOG_ERROR, buf_str(&problems));
    if (settings && service->key && settings->api_keys.count == 0)
        use_only_key(settings, service->key);
    return settings;
}

/* Where no key was given and one is needed, the one kept in the state directory, made if missing, becomes the key. */
static int take_generated_key(struct service *service, struct error *err)
{
    struct settings *settings = service->settings;
    if (settings->api_keys.count > 0 || auth_mode_at_start(settings) != AUTH_API_KEY)
        return 0;
    bool made;
    if (auth_load_or_make_key(settings->state_dir, &service->key, &made, err) < 0)
        return -1;
    use_only_key(settings, service->key);
    log_info(made ? "made an API key" : "using the API key made earlier", LOG_STR("directory", settings->state_dir));
    return 0;
}

static struct fleet *make_fleet(const struct service *service)
{
    const struct settings *settings = service->settings;
    unsigned activity_s = settings->status_cache_ttl_s ? settings->status_cache_ttl_s : 30;
    const struct fleet_options options = {
        .backend = service->backend,
        .store = service->store,
        .policies = service->policies,
        .start_timeout_s = settings->start_timeout_s,
        .stop_timeout_s = settings->idle_cleanup_timeout_s,
        .refresh_idle_s = settings->refresh_idle_s,
        .activity_interval_s = activity_s < 60 ? activity_s : 60,
        .max_terminals = settings->max_terminals,
        .max_terminals_per_user = settings->max_terminals_per_user,
        .max_starts = settings->max_starts,
    };
    return fleet_new(&options);
}

static struct policies *make_policies(const struct service *service, struct error *err)
{
    json_t *none = json_array();
    struct policies *policies = policies_new(policy_snapshot_new(policy_limits_new(service->settings), none));
    json_decref(none);
    if (api_publish_policies(service->store, policies, service->settings, err) == 0)
        return policies;
    policies_free(policies);
    return NULL;
}

static struct gateway *make_gateway(const struct service *service, struct error *err)
{
    const struct gateway_options options = {
        .settings = service->settings, .auth = service->auth, .fleet = service->fleet, .policies = service->policies,
        .api = service->api, .documents = service->documents, .pool = service->pool,
        .token_pool = service->token_pool, .document_pool = service->document_pool,
    };
    return gateway_new(&options, err);
}

/* Makes all parts; nothing runs yet but the port is bound. What was made before a failure is left to service_free(). */
static int service_build(struct service *service, struct error *err)
{
    struct settings *settings = service->settings;
    if (take_generated_key(service, err) < 0)
        return -1;
    if (!(service->store = store_open(settings->database_url, settings->state_dir, err)))
        return -1;
    if (!(service->policies = make_policies(service, err)))
        return -1;
    if (!(service->backend = backend_from_settings(settings, err)))
        return -1;
    service->fleet = make_fleet(service);
    service->auth = auth_new(settings);
    service->api = api_new(&(struct api_options){ settings, service->store, service->policies, service->fleet,
                                                  service->backend->ops->name });
    service->documents = documents_new(service->store, service->policies, service->fleet);
    service->pool = pool_new("terminals-pool", POOL_THREADS);
    service->token_pool = pool_new("token-checks", WAITING_THREADS);
    service->document_pool = pool_new("document-waits", WAITING_THREADS);
    if (!(service->gateway = make_gateway(service, err)))
        return -1;
    return fleet_start(service->fleet, err);
}

static void service_free(struct service *service)
{
    if (service->fleet)
        fleet_dismiss_callers(service->fleet);
    if (service->gateway)
        gateway_free(service->gateway);
    pool_free(service->pool);
    pool_free(service->token_pool);
    pool_free(service->document_pool);
    if (service->documents)
        documents_free(service->documents);
    if (service->api)
        api_free(service->api);
    if (service->auth)
        auth_free(service->auth);
    if (service->fleet)
        fleet_free(service->fleet);
    if (service->backend)
        service->backend->ops->free(service->backend);
    if (service->policies)
        policies_free(service->policies);
    if (service->store)
        store_close(service->store);
    if (service->settings != service->first_settings)
        settings_free(service->settings);
    settings_free(service->first_settings);
    secret_free(service->key);
}

/* SIGHUP: everything that may change while running changes; a mistake leaves all as it was. */
static void reload(struct service *service)
{
    struct error err = { 0 };
    struct settings *fresh = read_settings(service);
    if (fresh && auth_reconfigure(service->auth, fresh, &err) < 0) {
        log_configure(service->settings->log_level, service->settings->log_json);
        log_error("these settings cannot be taken", LOG_ERR(&err));
        settings_free(steal(&fresh));
    }
    if (!fresh) {
        log_error("the settings were not read again: the old ones stay in force");
        return;
    }
    cleanup_buf struct buf warnings = { 0 };
    settings_warn_restart(service->first_settings, fresh, &warnings);
    log_lines(LOG_WARNING, buf_str(&warnings));
    api_reconfigure(service->api, fresh);
    gateway_reconfigure(service->gateway, fresh);
    fleet_policies_changed(service->fleet);
    if (service->settings != service->first_settings)
        settings_free(service->settings);
    service->settings = fresh;
    log_info("settings read again");
}

/* An address that a person on this machine can open. */
static const char *reachable_host(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ? "127.0.0.1" : host;
}

/* Says how callers are known, and gives the curl option that shows it. The key itself is shown to a person at a terminal only: what is
 * written elsewhere is a log, and outlives the key. The caller frees. */
static char *tell_key(const struct service *service)
{
    const struct settings *settings = service->settings;

    switch (auth_mode(service->auth)) {
    case AUTH_OPEN:
        printf("no key is needed (--open)\n");
        return xstrdup("");
    case AUTH_OPEN_WEBUI:
        printf("callers show their token of %s, or the API key\n", settings->open_webui_url);
        return xstrdup("-H \"Authorization: Bearer $TERMINALS_API_KEY\" ");
    case AUTH_API_KEY:
        break;
    }
    if (!service->key) {
        printf("the API key is the one that you set\n");
        return xstrdup("-H \"Authorization: Bearer $TERMINALS_API_KEY\" ");
    }
    printf("the API key is in %s/api-key\n", settings->state_dir);
    if (isatty(STDOUT_FILENO))
        printf("it is %s\n", service->key);
    return xasprintf("-H \"Authorization: Bearer $(cat %s/api-key)\" ", settings->state_dir);
}

/* Tells whoever started the program where to go. */
static void greet(const struct service *service)
{
    const struct settings *settings = service->settings;
    const char *host = reachable_host(settings->host);
    const char *open = strchr(host, ':') ? "[" : "", *close = strchr(host, ':') ? "]" : "";
    unsigned port = gateway_port(service->gateway);

    log_info("listening", LOG_STR("host", settings->host), LOG_INT("port", port), LOG_STR("version", TERMINALS_VERSION));
    if (settings->log_json && !isatty(STDOUT_FILENO))
        return;         /* whoever reads both streams as one expects nothing but JSON */
    printf("\nterminals %s at http://%s%s%s:%u\n", TERMINALS_VERSION, open, host, close, port);
    cleanup_free char *authorization = tell_key(service);
    printf("\ntry it:\n  curl %s-H 'X-User-Id: alice' -H 'Content-Type: application/json' \\\n"
           "       -d '{\"command\":\"echo hello; pwd\"}' 'http://%s%s%s:%u/execute?wait=5'\n\n",
           authorization, open, host, close, port);
    fflush(stdout);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void block_signals(sigset_t *awaited)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(awaited);
    sigaddset(awaited, SIGTERM);
    sigaddset(awaited, SIGINT);
    sigaddset(awaited, SIGHUP);
    pthread_sigmask(SIG_BLOCK, awaited, NULL);
}

static void run_until_told_to_stop(struct service *service, const sigset_t *awaited)
{
    int number = 0;
    while (sigwait(awaited, &number) == 0 && number == SIGHUP)
        reload(service);
    log_info("stopping: running requests may end, terminals keep running", LOG_STR("signal", strsignal(number)));
    pthread_sigmask(SIG_UNBLOCK, awaited, NULL);        /* a second signal ends the process at once */
    gateway_set_draining(service->gateway);
    gateway_drain(service->gateway, DRAIN_MS);
}

static void publish_build_info(void)
{
    struct metric *info = metric_gauge("terminals_build_info", "Always 1; the version is a label.",
                                       "version=\"" TERMINALS_VERSION "\"");
    metric_set(info, 1);
}

int command_serve(int argc, char **argv)
{
    struct service service = { 0 };
    int parsed = parse_options(argc, argv, &service.options);
    if (parsed != 0)
        return parsed < 0 ? 2 : 0;
    sigset_t awaited;
    block_signals(&awaited);
    raise_descriptor_limit();
    http_client_global_init();
    service.first_settings = service.settings = read_settings(&service);
    if (!service.settings)
        return 1;
    struct error err = { 0 };
    if (service_build(&service, &err) < 0) {
        log_error("cannot start", LOG_ERR(&err));
        service_free(&service);
        return 1;
    }
    publish_build_info();
    gateway_start(service.gateway);
    greet(&service);
    run_until_told_to_stop(&service, &awaited);
    service_free(&service);
    log_info("stopped");
    return 0;
}
