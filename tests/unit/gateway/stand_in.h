/* A gateway on loopback between a test's own sockets: the test plays the client and the guest by turns, and scripted stand-ins answer for the
 * fleet, the token check, the API and the documents. Included by one test program at a time. */
#ifndef TESTS_STAND_IN_H
#define TESTS_STAND_IN_H

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/gateway.h"
#include "http/websocket.h"

#define PATIENCE_MS 8000
#define KEY "Authorization: Bearer key\r\n"
#define ALICE KEY "X-User-Id: alice\r\n"

/* --- the scripted fleet ------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    struct route *route;            /* of everybody; NULL: not running */
    bool starts_late;               /* fleet_want_terminal() takes the waiter */
    struct list waiters;
    enum error_class refusal;
    int wants, suspects;
    char wanted[600];               /* "user policy context" of the last want */
    bool ready;
} fleet = { .lock = PTHREAD_MUTEX_INITIALIZER, .ready = true, .waiters = LIST_INIT(fleet.waiters) };

static int guest_listener = -1;

static void route_endpoint(struct endpoint *endpoint, int listener)
{
    endpoint->address_len = sizeof(struct sockaddr_in);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&endpoint->address, &endpoint->address_len), 0);
    (void)snprintf(endpoint->host, sizeof(endpoint->host), "127.0.0.1");
    endpoint->port = ntohs(((struct sockaddr_in *)(void *)&endpoint->address)->sin_port);
}

/* A route as the fleet would publish it, to `listener`. */
static struct route *make_route(int listener)
{
    struct terminal_key *key = terminal_key_new(str_from("alice"), str_from("default"), str_from("default"));
    struct endpoint endpoint = { 0 };
    route_endpoint(&endpoint, listener);
    struct route *route = route_new(key, &endpoint, "guest-key", 1);
    terminal_key_free(key);
    return route;
}

enum want_result fleet_want_terminal(struct fleet *f, const struct terminal_key *key, struct waiter *waiter, struct route **route,
                                     struct error *err)
{
    enum want_result result = WANT_READY;
    pthread_mutex_lock(&fleet.lock);
    fleet.wants++;
    (void)snprintf(fleet.wanted, sizeof(fleet.wanted), "%s %s %s", key->user_id, key->policy_id, key->context_id);
    if (fleet.refusal != ERR_NONE) {
        error_set(err, fleet.refusal, "refused by the script");
        result = WANT_REFUSED;
    } else if (fleet.starts_late) {
        list_append(&fleet.waiters, &waiter->node);
        result = WANT_WAITING;
    } else if (!fleet.route) {
        error_set(err, ERR_UNAVAILABLE, "no engine");
        result = WANT_REFUSED;
    } else {
        *route = route_ref(fleet.route);
    }
    pthread_mutex_unlock(&fleet.lock);
    return result;
}

struct route *fleet_find_route(struct fleet *f, const struct terminal_key *key)
{
    pthread_mutex_lock(&fleet.lock);
    struct route *route = fleet.route && !fleet.starts_late ? route_ref(fleet.route) : NULL;
    pthread_mutex_unlock(&fleet.lock);
    return route;
}

void fleet_suspect(struct fleet *f, struct route *route)
{
    pthread_mutex_lock(&fleet.lock);
    fleet.suspects++;
    pthread_mutex_unlock(&fleet.lock);
}

bool fleet_is_ready(struct fleet *f, struct error *err)
{
    if (!fleet.ready)
        error_set(err, ERR_UNAVAILABLE, "no listing yet");
    return fleet.ready;
}

/* The one that waits longest, or NULL. */
static struct waiter *take_waiter(void)
{
    pthread_mutex_lock(&fleet.lock);
    struct list *node = list_first(&fleet.waiters);
    if (node)
        list_remove(node);
    pthread_mutex_unlock(&fleet.lock);
    return node ? LIST_ENTRY(node, struct waiter, node) : NULL;
}

static inline struct waiter *await_waiter(void)
{
    for (int i = 0; i < PATIENCE_MS; i++) {
        struct waiter *waiter = take_waiter();
        if (waiter)
            return waiter;
        usleep(1000);
    }
    fail_msg("no request waits");
    return NULL;
}

/* --- who may call --------------------------------------------------------------------------------------------------- */

static enum auth_mode mode = AUTH_API_KEY;

bool auth_bearer_token(struct str authorization, struct str *token)
{
    *token = str_skip(authorization, 7);
    return str_starts_with(authorization, STR_LITERAL("Bearer "));
}

/* "key" is the API key; "slow-<user>" is verified on the pool; all else is wrong. */
enum auth_result auth_check_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
{
    memset(identity, 0, sizeof(*identity));
    identity->trusted = str_equal_text(token, "key");
    if (identity->trusted)
        return AUTH_OK;
    if (str_starts_with(token, STR_LITERAL("slow-")))
        return AUTH_PENDING;
    error_set(err, ERR_UNAUTHORIZED, "Invalid API key");
    return AUTH_DENIED;
}

enum auth_result auth_check_header(struct auth *auth, struct str authorization, bool present, struct identity *identity, struct error *err)
{
    struct str token;
    if (!present || !auth_bearer_token(authorization, &token)) {
        error_set(err, ERR_UNAUTHORIZED, present ? "Invalid Authorization header" : "Missing Authorization header");
        return AUTH_DENIED;
    }
    return auth_check_token(auth, token, identity, err);
}

enum auth_result auth_verify_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
{
    memset(identity, 0, sizeof(*identity));
    if (str_equal_text(token, "slow-down")) {
        error_set(err, ERR_UNAVAILABLE, "Failed to reach Open WebUI");
        return AUTH_DENIED;
    }
    memcpy(identity->user_id, token.data + 5, token.len - 5);
    return AUTH_OK;
}

enum auth_result auth_check_admin(struct auth *auth, struct str authorization, bool present, struct error *err)
{
    struct identity identity;
    return auth_check_header(auth, authorization, present, &identity, err);
}

enum auth_mode auth_mode(struct auth *auth) { return mode; }

/* --- API and documents ------------------------------------------------------------------------------------------------ */

/* Says back what it got. */
void api_handle(struct api *api, const struct api_request *request, struct api_response *response)
{
    *response = (struct api_response){ .status = 200, .content_type = "application/json" };
    buf_printf(&response->body, "%.*s %.*s?%.*s [%.*s] %zu", STR_ARG(request->method), STR_ARG(request->path), STR_ARG(request->query),
               STR_ARG(request->content_type), request->body.len);
    if (str_equal_text(request->path, "/api/v1/nowhere")) {
        response->status = 405;
        response->allow = "GET";
    }
}

static struct document spec = { .references = 1, .status = 200, .content_type = (char *)"application/json", .body = (char *)"{\"openapi\":1}", .len = 13 };
static bool document_known, document_obtainable, document_may_start;
static char document_policy[200];

struct document *documents_peek(struct documents *documents, enum document_kind kind, const char *policy_id, bool *stale)
{
    *stale = false;
    return document_known ? &spec : NULL;
}

struct document *documents_obtain(struct documents *documents, enum document_kind kind, const char *policy_id, bool may_start,
                                  int64_t deadline_ms, struct error *err)
{
    document_may_start = may_start;
    (void)snprintf(document_policy, sizeof(document_policy), "%s", policy_id);
    return document_obtainable ? &spec : NULL;
}

void document_unref(struct document *document) { }

/* --- the gateway under test ------------------------------------------------------------------------------------------ */

static struct gateway *gateway;
static struct pool *pool;
static struct policies *policies;
static struct settings settings;

static int listen_somewhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static void default_settings(void)
{
    settings = (struct settings){
        .host = (char *)"127.0.0.1", .workers = 1, .enable_ui = true, .metrics_auth = true, .connect_timeout_s = 5,
        .read_timeout_s = 20, .write_timeout_s = 20, .start_timeout_s = 20, .max_unauthenticated_websockets = 100,
        .max_unauthenticated_websockets_per_address = 50, .image = (char *)"image",
    };
}

static void start_gateway(void)
{
    struct error err = { 0 };
    cleanup_json json_t *rows = json_pack("[{s:s,s:{},s:s,s:s},{s:s,s:{s:{s:[s]}},s:s,s:s}]",
        "id", "lab", "data", "created_at", "x", "updated_at", "x",
        "id", "closed", "data", "access", "users", "bob", "created_at", "x", "updated_at", "x");
    assert_non_null(rows);
    policies = policies_new(policy_snapshot_new(policy_limits_new(&settings), rows));
    pool = pool_new("test", 4);
    gateway = gateway_new(&(struct gateway_options){ .settings = &settings, .policies = policies, .pool = pool,
        .token_pool = pool, .document_pool = pool }, &err);
    if (!gateway)
        fail_msg("%s", err.text);
    gateway_start(gateway);
}

static int set_up(void **state)
{
    default_settings();
    guest_listener = listen_somewhere();
    fleet.route = make_route(guest_listener);
    fleet.starts_late = false;
    fleet.refusal = ERR_NONE;
    fleet.wants = fleet.suspects = 0;
    fleet.ready = true;
    document_known = document_obtainable = false;
    mode = AUTH_API_KEY;
    start_gateway();
    return 0;
}

static void stop_gateway(void)
{
    if (gateway)
        gateway_free(gateway);
    gateway = NULL;
    if (pool)
        pool_free(pool);
    pool = NULL;
    if (policies)
        policies_free(policies);
    policies = NULL;
}

static int tear_down(void **state)
{
    for (struct waiter *waiter; (waiter = take_waiter()) != NULL; )
        waiter->post(waiter, NULL, &(struct error){ .class = ERR_UNAVAILABLE });
    stop_gateway();
    if (fleet.route)
        route_unref(steal(&fleet.route));
    (void)close(guest_listener);
    return 0;
}

/* --- sockets -------------------------------------------------------------------------------------------------------- */

static void set_patience(int fd)
{
    struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static inline int client_connect(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)gateway_port(gateway)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    set_patience(fd);
    return fd;
}

/* The gateway's next connection to the guest. */
static inline int guest_accept(void)
{
    struct pollfd wait = { .fd = guest_listener, .events = POLLIN };
    if (poll(&wait, 1, PATIENCE_MS) != 1)
        fail_msg("the gateway does not connect to the guest");
    int fd = accept(guest_listener, NULL, NULL);
    assert_true(fd >= 0);
    set_patience(fd);
    return fd;
}

static inline bool guest_is_dialled(int within_ms)
{
    struct pollfd wait = { .fd = guest_listener, .events = POLLIN };
    return poll(&wait, 1, within_ms) == 1;
}

static inline void say(int fd, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* Reads until `text` ends with `needle`; NUL-terminated, in a static buffer. */
static inline const char *hear_until(int fd, const char *needle)
{
    static char text[200000];
    size_t len = 0, want = strlen(needle);
    text[0] = '\0';
    while (len < sizeof(text) - 1) {
        ssize_t got = recv(fd, text + len, 1, 0);
        if (got <= 0)
            fail_msg("the peer %s after \"%s\" while waiting for \"%s\"", got == 0 ? "closed" : "fell silent", text, needle);
        text[++len] = '\0';
        if (len >= want && memcmp(text + len - want, needle, want) == 0)
            return text;
    }
    fail_msg("too much");
    return text;
}

static inline const char *hear_head(int fd) { return hear_until(fd, "\r\n\r\n"); }

/* Reads exactly `expected`. */
static inline void hear(int fd, const char *expected)
{
    size_t want = strlen(expected);
    cleanup_free char *text = calloc(1, want + 1);
    for (size_t len = 0; len < want; ) {
        ssize_t got = recv(fd, text + len, want - len, 0);
        if (got <= 0)
            fail_msg("heard \"%s\", then nothing, instead of \"%s\"", text, expected);
        len += (size_t)got;
    }
    assert_string_equal(text, expected);
}

static inline void hear_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    if (got > 0)
        fail_msg("unexpected byte '%c'", byte);
    if (got < 0 && errno != ECONNRESET)
        fail_msg("the connection stays open");
}

static inline bool is_silent(int fd, int for_ms)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    return poll(&wait, 1, for_ms) == 0;
}

#define assert_has(text, part) \
    do { if (!strstr((text), (part))) fail_msg("\"%s\" is missing in:\n%s", (part), (text)); } while (0)
#define assert_has_not(text, part) \
    do { if (strstr((text), (part))) fail_msg("\"%s\" is unwanted in:\n%s", (part), (text)); } while (0)

/* The rest of an answer whose head was heard. */
static inline const char *hear_body(int fd, const char *head)
{
    static char body[200000];
    const char *field = strstr(head, "Content-Length: ");
    if (!field)
        fail_msg("no Content-Length in:\n%s", head);
    size_t want = strtoul(field + 16, NULL, 10);
    assert_true(want < sizeof(body));
    for (size_t len = 0; len < want; ) {
        ssize_t got = recv(fd, body + len, want - len, 0);
        assert_true(got > 0);
        len += (size_t)got;
    }
    body[want] = '\0';
    return body;
}

/* One request on a connection of its own: checks status and, when not NULL, the whole body. */
static inline void expect_answer(const char *request, int status, const char *body)
{
    char line[32];
    int fd = client_connect();
    say(fd, request);
    cleanup_free char *head = strdup(hear_head(fd));
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(head, line, strlen(line)) != 0)
        fail_msg("status %d expected for\n%s\nbut got\n%s%s", status, request, head, hear_body(fd, head));
    assert_has(head, "X-Request-Id: ");
    assert_has_not(head, "Server:");
    if (body)
        assert_string_equal(hear_body(fd, head), body);
    (void)close(fd);
}

#endif
