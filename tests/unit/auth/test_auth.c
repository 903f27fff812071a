/* Who may call (orchestrator.md §2.2; open-webui.md rule 7). A small server on a thread stands in for Open WebUI's token check. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "http/client.h"

/* Payload {"id":"robot","exp":4102444800}. */
#define ROBOT_TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6InJvYm90IiwiZXhwIjo0MTAyNDQ0ODAwfQ.c2ln"

/* --- Open WebUI ---------------------------------------------------------------------------------------------- */

static const struct answer {
    const char *token, *path;
    int status;
    const char *body;
} answers[] = {
    { "good-alice", "/api/v1/auths/", 200, "{\"id\":\"alice\",\"email\":\"alice@example.org\",\"role\":\"user\",\"name\":\"A\"}" },
    { "good-admin", "/api/v1/auths/", 200, "{\"id\":\"root\",\"email\":\"r@example.org\",\"role\":\"admin\"}" },
    { "pending", "/api/v1/auths/", 200, "{\"id\":\"p\",\"role\":\"pending\"}" },
    { "roleless", "/api/v1/auths/", 200, "{\"id\":\"p\"}" },
    { "noid", "/api/v1/auths/", 200, "{\"role\":\"user\"}" },
    { "numeric", "/api/v1/auths/", 200, "{\"id\":7,\"role\":\"user\"}" },
    { "notjson", "/api/v1/auths/", 200, "<html>" },
    { "broken", "/api/v1/auths/", 500, "{}" },
    { "moved", "/api/v1/auths/", 302, "" },
    { "slow", "/api/v1/auths/", 200, "{\"id\":\"slow\",\"role\":\"user\"}" },
    { "expired-soon", "/api/v1/auths/", 200, "{\"id\":\"e\",\"role\":\"user\",\"expires_at\":1}" },
    { ROBOT_TOKEN, "/api/v1/auths/", 403, "{\"detail\":\"A human session is required.\"}" },
    { ROBOT_TOKEN, "/api/v1/terminals/", 200, "[]" },
    { "sk-opaque", "/api/v1/auths/", 403, "{}" },
    { "sk-opaque", "/api/v1/terminals/", 200, "[]" },
    { "forged.eyJpZCI6InJvb3QifQ.x", "/api/v1/auths/", 403, "{}" },
    { "forged.eyJpZCI6InJvb3QifQ.x", "/api/v1/terminals/", 401, "{}" },
};

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    atomic_uint calls;
    atomic_bool stop;
} server = { .fd = -1 };

static void find_answer(const char *request, struct answer *answer)
{
    char path[64] = "", token[256] = "";
    const char *authorization = strstr(request, "Authorization: Bearer ");

    *answer = (struct answer){ .status = 401, .body = "{\"detail\":\"Invalid token\"}" };
    if (sscanf(request, "GET %63s", path) != 1 || !authorization || sscanf(authorization, "Authorization: Bearer %255s", token) != 1)
        return;
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        if (strcmp(answers[i].token, token) == 0 && strcmp(answers[i].path, path) == 0)
            *answer = answers[i];
}

static void answer_one(int client)
{
    char request[4096], response[1024];
    size_t len = 0;
    struct answer answer;

    while (len + 1 < sizeof(request)) {
        ssize_t got = read(client, request + len, sizeof(request) - 1 - len);

        if (got <= 0)
            return;
        len += (size_t)got;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    atomic_fetch_add(&server.calls, 1);
    find_answer(request, &answer);
    if (answer.token && strcmp(answer.token, "slow") == 0)
        (void)nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
    int size = snprintf(response, sizeof(response), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\nLocation: /elsewhere\r\n\r\n%s",
                        answer.status, strlen(answer.body), answer.body);
    (void)!write(client, response, (size_t)size);
}

static void *serve(void *argument)
{
    while (!atomic_load(&server.stop)) {
        cleanup_fd int client = accept(server.fd, NULL, NULL);

        if (client >= 0 && !atomic_load(&server.stop))
            answer_one(client);
    }
    return argument;
}

static int server_start(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);

    http_client_global_init();
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server.fd, (struct sockaddr *)&address, len) < 0 || listen(server.fd, 64) < 0
        || getsockname(server.fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    server.port = ntohs(address.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int server_stop(void **state)
{
    atomic_store(&server.stop, true);
    (void)shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    return close(server.fd);
}

static char *server_url(void)
{
    return xasprintf("http://127.0.0.1:%u", server.port);
}

/* --- helpers ------------------------------------------------------------------------------------------------- */

static char *two_keys[] = { (char *)"first-key", (char *)" second-key " };

static struct auth *make_auth(const char *url, size_t keys, bool open, unsigned ttl_s)
{
    const struct settings settings = {
        .api_keys = { two_keys, keys }, .open_webui_url = (char *)url, .open = open, .token_cache_ttl_s = ttl_s,
    };

    return auth_new(&settings);
}

static struct auth *make_jwt_auth(unsigned ttl_s)
{
    cleanup_free char *url = server_url();

    return make_auth(url, 1, false, ttl_s);
}

static void assert_result(const char *name, enum auth_result result, enum auth_result want, const struct error *err,
                          const char *text)
{
    if (result != want || (text && strcmp(err->text, text) != 0))
        fail_msg("%s: result %d, '%s'", name, (int)result, err->text);
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static void the_data_plane_wants_a_key(void **state)
{
    static const struct { const char *header; enum auth_result result; const char *text; } rows[] = {
        { NULL, AUTH_DENIED, "Missing Authorization header" },
        { "", AUTH_DENIED, "Missing Authorization header" },
        { "Basic x", AUTH_DENIED, "Invalid Authorization header" },
        { "Bearer", AUTH_DENIED, "Invalid Authorization header" },
        { "Bearer  ", AUTH_DENIED, "Invalid Authorization header" },
        { "Bearerfirst-key", AUTH_DENIED, "Invalid Authorization header" },
        { "Bearer nope", AUTH_DENIED, "Invalid API key" },
        { "Bearer first-ke", AUTH_DENIED, "Invalid API key" },
        { "Bearer first-key2", AUTH_DENIED, "Invalid API key" },
        { "Bearer first-key,second-key", AUTH_DENIED, "Invalid API key" },
        { "Bearer first-key", AUTH_OK, NULL },
        { "bearer  first-key ", AUTH_OK, NULL },
        { "BEARER second-key", AUTH_OK, NULL },
    };
    struct auth *auth = make_auth(NULL, 2, false, 60);

    assert_int_equal(auth_mode(auth), AUTH_API_KEY);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct identity identity;
        enum auth_result result = auth_check_header(auth, str_from(rows[i].header), rows[i].header != NULL, &identity, &err);

        assert_result(rows[i].header ? rows[i].header : "none", result, rows[i].result, &err, rows[i].text);
        if (result == AUTH_OK)
            assert_true(identity.trusted && identity.user_id[0] == '\0');
        else
            assert_int_equal(err.class, ERR_UNAUTHORIZED);
    }
    auth_free(auth);
}

static void the_control_plane_wants_the_key_in_every_mode(void **state)
{
    static const struct { const char *name; const char *url; size_t keys; bool open; const char *header, *text; } rows[] = {
        { "admin-noauth", NULL, 1, false, NULL, "Missing Authorization header" },
        { "admin-badkey", NULL, 1, false, "Bearer nope", "Invalid admin API key" },
        { "admin-lowercase", NULL, 1, false, "bearer first-key", NULL },
        { "admin basic", NULL, 1, false, "Basic first-key", "Invalid Authorization header" },
        { "rotation", NULL, 2, false, "Bearer second-key", NULL },
        { "jwt with key", "http://127.0.0.1:1", 1, false, "Bearer first-key", NULL },
        { "jwt token is no key", "http://127.0.0.1:1", 1, false, "Bearer good-admin", "Invalid admin API key" },
        { "jwt without key", "http://127.0.0.1:1", 0, false, "Bearer good-admin", "TERMINALS_API_KEY is required for admin APIs" },
        { "jwt without key, open does not count", "http://127.0.0.1:1", 0, true, "Bearer x", "TERMINALS_API_KEY is required for admin APIs" },
        { "open", NULL, 0, true, NULL, NULL },
        { "a key closes open mode", NULL, 1, true, NULL, "Missing Authorization header" },
        { "neither", NULL, 0, false, "Bearer x", "TERMINALS_API_KEY is required for admin APIs" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct auth *auth = make_auth(rows[i].url, rows[i].keys, rows[i].open, 60);
        struct error err = { 0 };
        enum auth_result result = auth_check_admin(auth, str_from(rows[i].header), rows[i].header != NULL, &err);

        assert_result(rows[i].name, result, rows[i].text ? AUTH_DENIED : AUTH_OK, &err, rows[i].text);
        auth_free(auth);
    }
}

static void open_mode_needs_the_explicit_word(void **state)
{
    struct auth *open = make_auth(NULL, 0, true, 60), *closed = make_auth(NULL, 0, false, 60);
    struct identity identity;
    struct error err;

    assert_int_equal(auth_mode(open), AUTH_OPEN);
    assert_int_equal(auth_check_header(open, (struct str){ 0 }, false, &identity, &err), AUTH_OK);
    assert_true(identity.trusted);
    assert_int_equal(auth_check_token(open, STR_LITERAL("anything"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_token(closed, STR_LITERAL(""), &identity, &err), AUTH_DENIED);
    assert_string_equal(err.text, "Invalid API key");
    auth_free(open);
    auth_free(closed);
}

/* --- tokens -------------------------------------------------------------------------------------------------- */

static void open_webui_says_whose_a_token_is(void **state)
{
    static const struct { const char *token; enum error_class class; const char *text, *user_id, *email, *role; unsigned calls; } rows[] = {
        { "good-alice", ERR_NONE, NULL, "alice", "alice@example.org", "user", 1 },
        { "good-admin", ERR_NONE, NULL, "root", "r@example.org", "admin", 1 },
        { ROBOT_TOKEN, ERR_NONE, NULL, "robot", "", "", 2 },
        { "rubbish", ERR_UNAUTHORIZED, "Invalid token", NULL, NULL, NULL, 1 },
        { "noid", ERR_UNAUTHORIZED, "Token response missing user ID", NULL, NULL, NULL, 1 },
        { "numeric", ERR_UNAUTHORIZED, "Token response missing user ID", NULL, NULL, NULL, 1 },
        { "notjson", ERR_UNAUTHORIZED, "Token response missing user ID", NULL, NULL, NULL, 1 },
        { "sk-opaque", ERR_UNAUTHORIZED, "Token response missing user ID", NULL, NULL, NULL, 2 },
        { "forged.eyJpZCI6InJvb3QifQ.x", ERR_UNAUTHORIZED, "Invalid token", NULL, NULL, NULL, 2 },
        { "pending", ERR_FORBIDDEN, "Users with role 'pending' may not use terminals", NULL, NULL, NULL, 1 },
        { "roleless", ERR_FORBIDDEN, NULL, NULL, NULL, NULL, 1 },
        { "broken", ERR_UNAVAILABLE, "Failed to reach Open WebUI", NULL, NULL, NULL, 1 },
        { "moved", ERR_UNAVAILABLE, "Failed to reach Open WebUI", NULL, NULL, NULL, 1 },
    };
    struct auth *auth = make_jwt_auth(60);

    assert_int_equal(auth_mode(auth), AUTH_OPEN_WEBUI);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct identity identity;
        unsigned before = atomic_load(&server.calls);

        assert_int_equal(auth_check_token(auth, str_from(rows[i].token), &identity, &err), AUTH_PENDING);
        enum auth_result result = auth_verify_token(auth, str_from(rows[i].token), &identity, &err);

        assert_result(rows[i].token, result, rows[i].class == ERR_NONE ? AUTH_OK : AUTH_DENIED, &err, rows[i].text);
        assert_int_equal(err.class, rows[i].class);
        assert_int_equal(atomic_load(&server.calls) - before, rows[i].calls);
        if (result != AUTH_OK)
            continue;
        assert_false(identity.trusted);
        assert_string_equal(identity.user_id, rows[i].user_id);
        assert_string_equal(identity.email, rows[i].email);
        assert_string_equal(identity.role, rows[i].role);
    }
    auth_free(auth);
}

static void the_api_key_passes_in_jwt_mode_too(void **state)
{
    struct auth *auth = make_jwt_auth(60);
    struct identity identity;
    struct error err;

    assert_int_equal(auth_check_header(auth, STR_LITERAL("Bearer first-key"), true, &identity, &err), AUTH_OK);
    assert_true(identity.trusted);
    assert_int_equal(auth_check_header(auth, (struct str){ 0 }, false, &identity, &err), AUTH_DENIED);
    assert_string_equal(err.text, "Missing Authorization header");
    assert_int_equal(auth_check_header(auth, STR_LITERAL("Basic x"), true, &identity, &err), AUTH_DENIED);
    assert_string_equal(err.text, "Invalid Authorization header");
    auth_free(auth);
}

static void tokens_that_no_header_can_carry_are_refused_unasked(void **state)
{
    static const struct str tokens[] = {
        { NULL, 0 }, STR_LITERAL("a b"), STR_LITERAL("a\r\nX: y"), STR_LITERAL("a\0b"), STR_LITERAL("\xc3\xa9"),
    };
    struct auth *auth = make_jwt_auth(60);
    cleanup_free char *huge = xmalloc(20000);
    unsigned before = atomic_load(&server.calls);
    struct identity identity;
    struct error err;

    memset(huge, 'x', 20000);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        assert_int_equal(auth_check_token(auth, tokens[i], &identity, &err), AUTH_DENIED);
        assert_string_equal(err.text, "Invalid token");
        assert_int_equal(auth_verify_token(auth, tokens[i], &identity, &err), AUTH_DENIED);
    }
    assert_int_equal(auth_check_token(auth, str_of(huge, 20000), &identity, &err), AUTH_DENIED);
    assert_int_equal(atomic_load(&server.calls), before);
    auth_free(auth);
}

static void verdicts_are_kept_for_the_configured_time(void **state)
{
    struct auth *auth = make_jwt_auth(60);
    struct identity identity;
    struct error err;
    const int64_t start = 1000000000, second = 1000000, wall = INT64_C(1700000000) * 1000000;

    clock_fake_set(start, wall);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("rubbish"), &identity, &err), AUTH_DENIED);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("broken"), &identity, &err), AUTH_DENIED);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("expired-soon"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_header(auth, STR_LITERAL("Bearer good-alice"), true, &identity, &err), AUTH_OK);
    assert_string_equal(identity.user_id, "alice");
    assert_string_equal(identity.email, "alice@example.org");
    assert_string_equal(identity.role, "user");
    assert_int_equal(auth_check_token(auth, STR_LITERAL("rubbish"), &identity, &err), AUTH_DENIED);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("broken"), &identity, &err), AUTH_PENDING);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("expired-soon"), &identity, &err), AUTH_PENDING);
    clock_fake_set(start + 5 * second, wall);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("rubbish"), &identity, &err), AUTH_PENDING);
    clock_fake_set(start + 59 * second, wall);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    clock_fake_set(start + 60 * second, wall);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_PENDING);
    clock_fake_set(-1, -1);
    auth_free(auth);

    auth = make_jwt_auth(0);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_PENDING);
    auth_free(auth);
}

static void an_unreachable_open_webui_is_not_a_bad_token(void **state)
{
    struct auth *auth = make_auth("http://127.0.0.1:1", 0, false, 60);
    struct identity identity;
    struct error err;

    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_DENIED);
    assert_int_equal(err.class, ERR_UNAVAILABLE);
    assert_string_equal(err.text, "Failed to reach Open WebUI");
    auth_free(auth);
}

static void new_settings_take_effect_at_once(void **state)
{
    cleanup_free char *url = server_url();
    char *other[] = { (char *)"third-key" };
    struct settings settings = { .api_keys = { other, 1 }, .open_webui_url = url, .token_cache_ttl_s = 60 };
    struct auth *auth = make_jwt_auth(60);
    struct identity identity;
    struct error err;

    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_reconfigure(auth, &settings, &err), 0);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("first-key"), &identity, &err), AUTH_PENDING);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("third-key"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_PENDING);
    settings.open_webui_url = NULL;
    assert_int_equal(auth_reconfigure(auth, &settings, &err), 0);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_DENIED);
    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_DENIED);
    assert_string_equal(err.text, "Invalid API key");
    auth_free(auth);
}

/* K a key, U the URL of Open WebUI, O the word TERMINALS_OPEN; the caller frees `*url`. */
static struct settings settings_of(const char *letters, char **url)
{
    *url = strchr(letters, 'U') ? server_url() : NULL;
    return (struct settings){ .api_keys = { two_keys, strchr(letters, 'K') ? 1 : 0 }, .open_webui_url = *url, .open = strchr(letters, 'O') != NULL };
}

/* Each text is what was given at the start and at each SIGHUP after it; `last_fits`: whether the last of them is taken. */
static const struct reload {
    const char *given[4];
    bool last_fits;
    enum auth_mode mode;
    const char *says;
} reloads[] = {
    { { "K", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "KO", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "K", "" }, false, AUTH_API_KEY, "which makes one" },
    { { "K", "KO" }, true, AUTH_API_KEY, "" },
    { { "K", "KO", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "K", "O", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "K", "O", "K" }, true, AUTH_API_KEY, "" },
    { { "K", "UO", "O" }, false, AUTH_OPEN_WEBUI, "TERMINALS_OPEN needs a restart" },
    { { "U", "O" }, false, AUTH_OPEN_WEBUI, "TERMINALS_OPEN needs a restart" },
    { { "UO", "O" }, false, AUTH_OPEN_WEBUI, "TERMINALS_OPEN needs a restart" },
    { { "UO", "" }, false, AUTH_OPEN_WEBUI, "which makes one" },
    { { "UKO", "KO" }, true, AUTH_API_KEY, "" },
    { { "UKO", "KO", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "O", "O" }, true, AUTH_OPEN, "" },
    { { "O", "" }, true, AUTH_OPEN, "" },
    { { "O", "K" }, true, AUTH_API_KEY, "" },
    { { "O", "KO" }, true, AUTH_API_KEY, "" },
    { { "O", "U" }, true, AUTH_OPEN_WEBUI, "" },
    { { "O", "KO", "O" }, false, AUTH_API_KEY, "TERMINALS_OPEN needs a restart" },
    { { "O", "UO", "O" }, false, AUTH_OPEN_WEBUI, "TERMINALS_OPEN needs a restart" },
};

static void new_settings_neither_open_the_service_nor_lock_everybody_out(void **state)
{
    for (size_t i = 0; i < COUNT_OF(reloads); i++) {
        const struct reload *row = &reloads[i];
        cleanup_free char *url = NULL;
        struct settings settings = settings_of(row->given[0], &url);
        struct auth *auth = auth_new(&settings);
        struct error err = { 0 };
        int result = 0;

        for (size_t step = 1; step < COUNT_OF(row->given) && row->given[step]; step++) {
            err = (struct error){ 0 };
            free(url);
            settings = settings_of(row->given[step], &url);
            result = auth_reconfigure(auth, &settings, &err);
        }
        if ((result == 0) != row->last_fits || auth_mode(auth) != row->mode || !strstr(err.text, row->says))
            fail_msg("row %zu (from '%s'): result %d, mode %d, '%s'", i, row->given[0], result, (int)auth_mode(auth), err.text);
        auth_free(auth);
    }
}

static void a_refused_change_leaves_keys_and_tokens_as_they_were(void **state)
{
    const struct settings none = { .open = true };
    struct auth *auth = make_jwt_auth(60);
    struct identity identity;
    struct error err;

    assert_int_equal(auth_verify_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_reconfigure(auth, &none, &err), -1);
    assert_int_equal(err.class, ERR_INVALID);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("first-key"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_token(auth, STR_LITERAL("good-alice"), &identity, &err), AUTH_OK);
    assert_int_equal(auth_check_header(auth, (struct str){ 0 }, false, &identity, &err), AUTH_DENIED);
    auth_free(auth);
}

static void *verify_slow(void *argument)
{
    struct identity identity;
    struct error err = { 0 };

    if (auth_verify_token(argument, STR_LITERAL("slow"), &identity, &err) != AUTH_OK || strcmp(identity.user_id, "slow") != 0)
        return (void *)"failed";
    return NULL;
}

static void callers_of_the_same_token_share_one_call(void **state)
{
    struct auth *auth = make_jwt_auth(60);
    unsigned before = atomic_load(&server.calls);
    pthread_t threads[8];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_slow, auth), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(atomic_load(&server.calls) - before, 1);
    auth_free(auth);
}

static void *verify_often(void *argument)
{
    for (int i = 0; i < 10; i++)
        if (verify_slow(argument))
            return (void *)"failed";
    return NULL;
}

static void settings_may_change_while_tokens_are_verified(void **state)
{
    cleanup_free char *url = server_url();
    const struct settings settings = { .open_webui_url = url, .token_cache_ttl_s = 60 };
    struct auth *auth = make_jwt_auth(0);
    struct error err;
    pthread_t threads[3];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_often, auth), 0);
    for (int i = 0; i < 8; i++) {
        (void)nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
        assert_int_equal(auth_reconfigure(auth, &settings, &err), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_plane_wants_a_key),
        cmocka_unit_test(the_control_plane_wants_the_key_in_every_mode),
        cmocka_unit_test(open_mode_needs_the_explicit_word),
        cmocka_unit_test(open_webui_says_whose_a_token_is),
        cmocka_unit_test(the_api_key_passes_in_jwt_mode_too),
        cmocka_unit_test(tokens_that_no_header_can_carry_are_refused_unasked),
        cmocka_unit_test(verdicts_are_kept_for_the_configured_time),
        cmocka_unit_test(an_unreachable_open_webui_is_not_a_bad_token),
        cmocka_unit_test(new_settings_take_effect_at_once),
        cmocka_unit_test(new_settings_neither_open_the_service_nor_lock_everybody_out),
        cmocka_unit_test(a_refused_change_leaves_keys_and_tokens_as_they_were),
        cmocka_unit_test(callers_of_the_same_token_share_one_call),
        cmocka_unit_test(settings_may_change_while_tokens_are_verified),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
