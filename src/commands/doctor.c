/* `terminals doctor`: tries what `terminals serve` will need, one line for each, and says what to do about what fails. It changes
 * nothing, and one failure does not keep it from trying the rest. */
#include "commands/commands.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>

#include "auth/auth.h"
#include "base/log.h"
#include "commands/backends.h"
#include "http/client.h"
#include "store/store.h"

#define OPEN_WEBUI_TIMEOUT_MS 10000
#define OWN_TIMEOUT_MS 2000

struct doctor {
    unsigned failures;
};

/* A check_report_fn, so that backends report in the same way. */
static void report(void *context, const struct check_result *result)
{
    struct doctor *doctor = context;

    printf("%-5s %-18s %s\n", result->ok ? "ok" : "FAIL", result->what, result->detail ? result->detail : "");
    if (result->ok)
        return;
    doctor->failures++;
    if (result->fix)
        printf("      %-18s to do: %s\n", "", result->fix);
}

static void report_ok(struct doctor *doctor, const char *what, const char *detail)
{
    report(doctor, &(struct check_result){ true, what, detail, NULL });
}

static void report_failure(struct doctor *doctor, const char *what, const char *detail, const char *fix)
{
    report(doctor, &(struct check_result){ false, what, detail, fix });
}

/* NULL after one line for each mistake. */
static struct settings *check_settings(struct doctor *doctor)
{
    cleanup_buf struct buf problems = { 0 }, warnings = { 0 };
    struct settings *settings = settings_load(&(struct settings_options){ .port = -1, .workers = -1, .look_only = true }, &problems, &warnings);
    struct str rest = buf_str(&warnings), line;

    while (str_next_part(&rest, '\n', &line))
        if (line.len > 0)
            printf("note  %-18s %.*s\n", "settings", STR_ARG(line));
    rest = buf_str(&problems);
    while (str_next_part(&rest, '\n', &line)) {
        cleanup_free char *detail = str_dup(line);
        if (line.len > 0)
            report_failure(doctor, "settings", detail, "correct the variable; `terminals config --help` lists them all");
    }
    if (settings)
        report_ok(doctor, "settings", "all of them can be read");
    return settings;
}

static void check_state_dir(struct doctor *doctor, const struct settings *settings)
{
    const char *dir = settings->state_dir;

    if (access(dir, F_OK) < 0 && errno == ENOENT) {
        report_ok(doctor, "state directory", "it does not exist yet and will be made");
        return;
    }
    if (access(dir, R_OK | W_OK | X_OK) == 0) {
        report_ok(doctor, "state directory", dir);
        return;
    }
    cleanup_free char *detail = xasprintf("%s: %s", dir, strerror(errno));
    cleanup_free char *fix = xasprintf("let uid %u write there, or name another directory with TERMINALS_STATE_DIR",
                                       (unsigned)geteuid());
    report_failure(doctor, "state directory", detail, fix);
}

static void check_database(struct doctor *doctor, const struct settings *settings)
{
    cleanup_free char *revision = NULL;
    struct error err;

    if (store_schema_current(settings->database_url, settings->state_dir, &revision, &err) < 0) {
        report_failure(doctor, "database", err.text, "see that the file is ours and readable, or set TERMINALS_DATABASE_URL");
        return;
    }
    if (store_check_writable(settings->database_url, settings->state_dir, &err) < 0) {
        report_failure(doctor, "database", err.text, "serve where it may be written, or set TERMINALS_DATABASE_URL");
        return;
    }
    cleanup_free char *detail = *revision ? xasprintf("schema %s", revision) : xstrdup("empty; the tables are made at the first start");
    report_ok(doctor, "database", detail);
}

static void check_engine(struct doctor *doctor, const struct settings *settings)
{
    struct error err;
    struct backend *backend = backend_from_settings(settings, &err);

    if (!backend) {
        report_failure(doctor, "engine", err.text, "correct TERMINALS_BACKEND or DOCKER_HOST");
        return;
    }
    backend->ops->check(backend, report, doctor);
    backend->ops->free(backend);
}

static void check_callers(struct doctor *doctor, const struct settings *settings)
{
    bool has_key = settings->api_keys.count > 0;

    switch (auth_mode_at_start(settings)) {
    case AUTH_OPEN:
        report_ok(doctor, "callers", "open: everyone who reaches the port may do everything");
        break;
    case AUTH_OPEN_WEBUI:
        report_ok(doctor, "callers", has_key ? "Open WebUI's tokens, and the API key"
                                             : "Open WebUI's tokens; the admin API is closed without TERMINALS_API_KEY");
        break;
    case AUTH_API_KEY:
        report_ok(doctor, "callers", has_key ? "the API key that is set" : "an API key that is kept in the state directory");
        break;
    }
}

/* Any answer but "no such page" is Open WebUI's: without a token it refuses. */
static void check_open_webui(struct doctor *doctor, const struct settings *settings)
{
    if (!settings->open_webui_url)
        return;
    cleanup_free char *url = xasprintf("%s/api/v1/auths/", settings->open_webui_url);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct http_client *client = http_client_new(&(struct http_client_options){ 0 });
    struct http_call call = { .method = "GET", .url = url, .timeout_ms = OPEN_WEBUI_TIMEOUT_MS, .max_response = 1024 * 1024 };
    struct error err;

    if (http_client_call(client, &call, &answer, &err) < 0) {
        report_failure(doctor, "Open WebUI", err.text, "correct TERMINALS_OPEN_WEBUI_URL, or start Open WebUI");
    } else if (answer.status == 404 || answer.status >= 500) {
        cleanup_free char *detail = xasprintf("%s answers %d", url, answer.status);
        report_failure(doctor, "Open WebUI", detail, "TERMINALS_OPEN_WEBUI_URL is the address of Open WebUI without a path");
    } else {
        report_ok(doctor, "Open WebUI", settings->open_webui_url);
    }
    http_client_free(client);
}

/* 0, or the errno of the bind. */
static int try_bind(const struct addrinfo *address)
{
    cleanup_fd int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return errno;
    return bind(fd, address->ai_addr, address->ai_addrlen) < 0 ? errno : 0;
}

static const char *port_fix(int number)
{
    switch (number) {
    case EADDRINUSE:
        return "stop what listens there, or set TERMINALS_PORT";
    case EACCES:
        return "ports below 1024 need CAP_NET_BIND_SERVICE: set TERMINALS_PORT to a higher one";
    default:
        return "set TERMINALS_HOST to an address of this machine";
    }
}

/* Whether the service itself holds the port: it alone answers so, without asking who calls. */
static bool is_served(const struct settings *settings)
{
    bool everywhere = strcmp(settings->host, "0.0.0.0") == 0 || strcmp(settings->host, "::") == 0;
    cleanup_free char *url = xasprintf(strchr(settings->host, ':') && !everywhere ? "http://[%s]:%u/health" : "http://%s:%u/health",
                                       everywhere ? "127.0.0.1" : settings->host, settings->port);
    cleanup_http_answer struct http_answer answer = { 0 };
    struct http_client *client = http_client_new(&(struct http_client_options){ .no_proxy_env = true });
    struct http_call call = { .method = "GET", .url = url, .timeout_ms = OWN_TIMEOUT_MS, .max_response = 1024 };
    struct error err;
    bool served = http_client_call(client, &call, &answer, &err) == 0 && answer.status == 200 && buf_str(&answer.body).len > 0 &&
                  str_equal_text(str_trim(buf_str(&answer.body)), "{\"status\":true}");

    http_client_free(client);
    return served;
}

static void check_port(struct doctor *doctor, const struct settings *settings)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *addresses = NULL;
    char port[16];

    snprintf(port, sizeof port, "%u", settings->port);
    cleanup_free char *where = xasprintf("%s port %s", settings->host, port);
    int failure = getaddrinfo(settings->host, port, &hints, &addresses);
    if (failure != 0) {
        cleanup_free char *detail = xasprintf("%s: %s", settings->host, gai_strerror(failure));
        report_failure(doctor, "port", detail, port_fix(0));
        return;
    }
    int number = try_bind(addresses);
    freeaddrinfo(addresses);
    if (number == 0) {
        report_ok(doctor, "port", where);
        return;
    }
    if (number == EADDRINUSE && is_served(settings)) {
        cleanup_free char *ours = xasprintf("%s, where the service answers", where);
        report_ok(doctor, "port", ours);
        return;
    }
    cleanup_free char *detail = xasprintf("%s: %s", where, strerror(number));
    report_failure(doctor, "port", detail, port_fix(number));
}

static int conclude(const struct doctor *doctor)
{
    if (doctor->failures == 0)
        printf("\neverything that was tried works\n");
    else
        printf("\n%u of the checks failed\n", doctor->failures);
    return doctor->failures == 0 ? 0 : 1;
}

int command_doctor(int argc, char **argv)
{
    struct doctor doctor = { 0 };

    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        fprintf(help ? stdout : stderr, "usage: terminals doctor\n\n"
                "Tries what `terminals serve` needs with the present settings, and says what to do about what fails.\n"
                "Changes nothing. The exit status is 0 when all is well, else 1.\n");
        return help ? 0 : 2;
    }
    http_client_global_init();
    log_configure(LOG_ERROR, false);
    struct settings *settings = check_settings(&doctor);
    if (settings) {
        check_state_dir(&doctor, settings);
        check_database(&doctor, settings);
        check_engine(&doctor, settings);
        check_callers(&doctor, settings);
        check_open_webui(&doctor, settings);
        check_port(&doctor, settings);
    }
    settings_free(settings);
    return conclude(&doctor);
}
