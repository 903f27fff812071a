/* The cache of guest documents: where they come from, how long they stay, and how many containers that costs. The store and the HTTP
 * client are real, and so is the guest's socket; the fleet is scripted, because what counts is what is asked of it. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "api/documents.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/pool.h"
#include "http/client.h"

#define IMAGE "guest:1"
#define SECOND_US 1000000LL

/* --- a guest ------------------------------------------------------------------------------------------------------ */

static struct {
    int listener;
    unsigned port;
    _Atomic unsigned requests;
    _Atomic int system_status, delay_ms;
    _Atomic bool broken;
} guest;

static void answer(int client, int status, const char *body)
{
    cleanup_free char *text = xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                                        "Connection: close\r\n\r\n%s", status, strlen(body), body);
    if (write(client, text, strlen(text)) < 0)
        abort();
}

static void serve_one(int client)
{
    char head[4096];
    ssize_t len = read(client, head, sizeof head - 1);

    if (len <= 0)
        return;
    head[len] = '\0';
    atomic_fetch_add(&guest.requests, 1);
    usleep((useconds_t)guest.delay_ms * 1000);
    if (!strstr(head, "Authorization: Bearer guest-key"))
        answer(client, 401, "{}");
    else if (guest.broken)
        answer(client, 200, "not JSON");
    else if (strncmp(head, "GET /openapi.json ", 18) == 0)
        answer(client, 200, "{\"openapi\":\"3.1.0\",\"security\":[],\"paths\":{}}");
    else if (strncmp(head, "GET /api/config ", 16) == 0)
        answer(client, 200, "{\"features\":{}}");
    else
        answer(client, guest.system_status, guest.system_status == 200 ? "{\"prompt\":\"hello\"}" : "{\"detail\":\"Not Found\"}");
}

static void *serve(void *argument)
{
    for (;;) {
        cleanup_fd int client = accept(guest.listener, NULL, NULL);
        if (client < 0)
            return NULL;
        serve_one(client);
    }
}

static int start_guest(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;

    http_client_global_init();
    guest.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(guest.listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(guest.listener, 64), 0);
    assert_int_equal(getsockname(guest.listener, (struct sockaddr *)&address, &len), 0);
    guest.port = ntohs(address.sin_port);
    pthread_detach(thread_start("guest", serve, NULL));
    return 0;
}

/* --- the scripted fleet ------------------------------------------------------------------------------------------- */

static struct {
    bool runs, starts, somebody_comes;
    unsigned started, stopped;
    char asked_policy[64], asked_image[64];
} script;

static struct route *guest_route(void)
{
    struct endpoint endpoint = { .address_len = sizeof(struct sockaddr_in) };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)guest.port) };
    struct terminal_key *key = terminal_key_new(str_from("system"), str_from("p"), str_from("default"));

    memcpy(&endpoint.address, &address, sizeof address);
    struct route *route = route_new(key, &endpoint, "guest-key", clock_monotonic_ms());
    terminal_key_free(key);
    if (script.somebody_comes)
        assert_true(route_enter(route, clock_monotonic_ms()));
    return route;
}

struct route *fleet_find_route(struct fleet *fleet, const struct terminal_key *key)
{
    assert_string_equal(key->user_id, "system");
    return NULL;
}

struct route *fleet_find_route_of_policy(struct fleet *fleet, const char *policy_id, const char *image)
{
    snprintf(script.asked_policy, sizeof script.asked_policy, "%s", policy_id);
    snprintf(script.asked_image, sizeof script.asked_image, "%s", image);
    return script.runs ? guest_route() : NULL;
}

struct route *fleet_obtain_route(struct fleet *fleet, const struct terminal_key *key, int64_t deadline_ms, struct error *err)
{
    script.started++;
    if (script.starts)
        return guest_route();
    error_set(err, ERR_IMAGE_NOT_FOUND, "no such image");
    return NULL;
}

size_t fleet_list(struct fleet *fleet, const struct terminal_filter *filter, struct terminal_info **infos)
{
    *infos = NULL;
    return 0;
}

void terminal_info_clear(struct terminal_info *info)
{
}

int fleet_stop(struct fleet *fleet, const struct terminal_filter *filter, bool only_idle, bool reset, struct stop_result *result,
               struct error *err)
{
    assert_string_equal(filter->user_id, "system");
    assert_false(reset);
    script.stopped++;
    return 0;
}

/* --- what each test has ------------------------------------------------------------------------------------------- */

static struct settings settings = { .image = (char *)IMAGE };

struct fixture {
    char dir[32];
    struct store *store;
    struct policies *policies;
    struct documents *documents;
};

static struct policy_snapshot *snapshot_of(const char *image, const char *updated_at)
{
    cleanup_json json_t *rows = json_pack("[{s:s, s:{s:s}, s:s, s:s}]", "id", "p", "data", "image", image,
                                          "created_at", updated_at, "updated_at", updated_at);
    return policy_snapshot_new(policy_limits_new(&settings), rows);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct error err = { 0 };

    memset(&script, 0, sizeof script);
    guest.requests = 0;
    guest.system_status = 200;
    guest.delay_ms = 0;
    guest.broken = false;
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/documents-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    cleanup_free char *url = xasprintf("sqlite:///%s/test.db", fixture->dir);
    fixture->store = store_open(url, fixture->dir, &err);
    if (!fixture->store)
        fail_msg("%s", err.text);
    fixture->policies = policies_new(snapshot_of(IMAGE, "2026-01-01 00:00:00.000000+00:00"));
    fixture->documents = documents_new(fixture->store, fixture->policies, NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *command = xasprintf("rm -rf '%s'", fixture->dir);

    documents_free(fixture->documents);
    policies_free(fixture->policies);
    store_close(fixture->store);
    clock_fake_set(-1, -1);
    free(fixture);
    return system(command);
}

/* Lets both clocks stand `seconds` after now. */
static void pass(int64_t seconds)
{
    clock_fake_set(clock_monotonic_us() + seconds * SECOND_US, clock_wall_us() + seconds * SECOND_US);
}

static struct document *obtain(struct fixture *fixture, enum document_kind kind, bool may_start, enum error_class wanted)
{
    struct error err = { 0 };
    struct document *document = documents_obtain(fixture->documents, kind, "p", may_start, clock_monotonic_ms() + 5000, &err);

    if (!document && err.class != wanted)
        fail_msg("%s: %s", error_class_name(err.class), err.text);
    return document;
}

static void expect_body(struct fixture *fixture, enum document_kind kind, bool may_start, int status, const char *body)
{
    struct document *document = obtain(fixture, kind, may_start, ERR_NONE);
    assert_non_null(document);
    assert_int_equal(document->status, status);
    assert_string_equal(document->body, body);
    assert_int_equal(document->len, strlen(body));
    document_unref(document);
}

/* 1: there and fresh, 0: there and stale, -1: not there. */
static int peek(struct fixture *fixture)
{
    bool stale;
    struct document *document = documents_peek(fixture->documents, DOCUMENT_CONFIG, "p", &stale);
    document_unref(document);
    return document ? !stale : -1;
}

/* --- the rules ---------------------------------------------------------------------------------------------------- */

static void a_running_terminal_of_the_policy_is_asked_once_for_all_three(void **state)
{
    script.runs = true;
    assert_int_equal(peek(*state), -1);
    expect_body(*state, DOCUMENT_OPENAPI, true, 200, "{\"openapi\":\"3.1.0\",\"paths\":{}}");
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    expect_body(*state, DOCUMENT_SYSTEM, true, 200, "{\"prompt\":\"hello\"}");
    assert_int_equal(guest.requests, 3);
    assert_int_equal(script.started, 0);
    assert_int_equal(script.stopped, 0);
    assert_string_equal(script.asked_policy, "p");
    assert_string_equal(script.asked_image, IMAGE);
    assert_int_equal(peek(*state), 1);
}

static void without_leave_nothing_is_started(void **state)
{
    assert_null(obtain(*state, DOCUMENT_CONFIG, false, ERR_NOT_FOUND));
    assert_int_equal(script.started, 0);
    script.runs = true;
    expect_body(*state, DOCUMENT_CONFIG, false, 200, "{\"features\":{}}");
}

static void a_terminal_that_was_started_for_it_is_stopped_again(void **state)
{
    script.starts = true;
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(script.started, 1);
    assert_int_equal(script.stopped, 1);
}

static void a_terminal_that_somebody_uses_meanwhile_stays(void **state)
{
    script.starts = true;
    script.somebody_comes = true;
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(script.stopped, 0);
}

static void the_404_of_a_guest_without_prompt_is_an_answer(void **state)
{
    script.runs = true;
    guest.system_status = 404;
    expect_body(*state, DOCUMENT_SYSTEM, false, 404, "{\"detail\":\"Not Found\"}");
}

static void documents_survive_a_restart(void **state)
{
    struct fixture *fixture = *state;

    script.runs = true;
    guest.system_status = 404;
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    documents_free(fixture->documents);
    fixture->documents = documents_new(fixture->store, fixture->policies, NULL);
    script.runs = false;
    pass(3600);
    expect_body(fixture, DOCUMENT_SYSTEM, true, 404, "{\"detail\":\"Not Found\"}");
    assert_int_equal(guest.requests, 3);
    assert_int_equal(script.started, 0);
    assert_int_equal(peek(fixture), 0);
}

static void a_locked_database_holds_up_no_caller(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *path = xasprintf("%s/test.db", fixture->dir);
    sqlite3 *other = NULL;

    script.runs = true;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
}

static void after_300_seconds_they_are_fetched_again_and_served_meanwhile(void **state)
{
    script.runs = true;
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    pass(299);
    assert_int_equal(peek(*state), 1);
    pass(2);
    assert_int_equal(peek(*state), 0);
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(guest.requests, 6);
    assert_int_equal(peek(*state), 1);
}

static void a_changed_policy_makes_them_stale(void **state)
{
    struct fixture *fixture = *state;
    script.runs = true;
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    policies_publish(fixture->policies, snapshot_of(IMAGE, "2100-01-01 00:00:00.000000+00:00"));
    assert_int_equal(peek(fixture), 0);
}

static void a_changed_image_makes_them_go(void **state)
{
    struct fixture *fixture = *state;
    script.runs = true;
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    policies_publish(fixture->policies, snapshot_of("other:2", "2026-01-01 00:00:00.000000+00:00"));
    assert_int_equal(peek(fixture), -1);
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_string_equal(script.asked_image, "other:2");
}

static void a_failure_stands_for_some_seconds(void **state)
{
    assert_null(obtain(*state, DOCUMENT_CONFIG, true, ERR_IMAGE_NOT_FOUND));
    assert_null(obtain(*state, DOCUMENT_OPENAPI, true, ERR_IMAGE_NOT_FOUND));
    assert_int_equal(script.started, 1);
    pass(6);
    assert_null(obtain(*state, DOCUMENT_CONFIG, true, ERR_IMAGE_NOT_FOUND));
    assert_int_equal(script.started, 2);
}

static void a_failed_refresh_leaves_what_there_is(void **state)
{
    script.runs = true;
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    guest.broken = true;
    pass(301);
    expect_body(*state, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(guest.requests, 4);
}

static void what_is_not_json_is_refused(void **state)
{
    script.runs = true;
    guest.broken = true;
    assert_null(obtain(*state, DOCUMENT_CONFIG, true, ERR_UNAVAILABLE));
}

static void an_unknown_policy_has_none(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    assert_null(documents_obtain(fixture->documents, DOCUMENT_CONFIG, "nope", true, clock_monotonic_ms() + 1000, &err));
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_string_equal(err.text, "Policy 'nope' not found");
}

static void a_caller_whose_time_is_over_leaves_the_fetch_running(void **state)
{
    struct fixture *fixture = *state;
    struct error err;

    script.runs = true;
    guest.delay_ms = 200;
    assert_null(documents_obtain(fixture->documents, DOCUMENT_CONFIG, "p", true, clock_monotonic_ms() + 50, &err));
    assert_int_equal(err.class, ERR_TIMEOUT);
    expect_body(fixture, DOCUMENT_CONFIG, true, 200, "{\"features\":{}}");
    assert_int_equal(guest.requests, 3);
}

static void *obtain_one(void *argument)
{
    struct error err;
    return documents_obtain(((struct fixture *)argument)->documents, DOCUMENT_OPENAPI, "p", true, clock_monotonic_ms() + 5000, &err);
}

static void callers_at_the_same_time_share_one_fetch(void **state)
{
    pthread_t threads[8];

    script.starts = true;
    guest.delay_ms = 20;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = thread_start("caller", obtain_one, *state);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *document;
        pthread_join(threads[i], &document);
        assert_non_null(document);
        document_unref(document);
    }
    assert_int_equal(guest.requests, 3);
    assert_int_equal(script.started, 1);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_running_terminal_of_the_policy_is_asked_once_for_all_three),
        RULE(without_leave_nothing_is_started),
        RULE(a_terminal_that_was_started_for_it_is_stopped_again),
        RULE(a_terminal_that_somebody_uses_meanwhile_stays),
        RULE(the_404_of_a_guest_without_prompt_is_an_answer),
        RULE(documents_survive_a_restart),
        RULE(a_locked_database_holds_up_no_caller),
        RULE(after_300_seconds_they_are_fetched_again_and_served_meanwhile),
        RULE(a_changed_policy_makes_them_stale),
        RULE(a_changed_image_makes_them_go),
        RULE(a_failure_stands_for_some_seconds),
        RULE(a_failed_refresh_leaves_what_there_is),
        RULE(what_is_not_json_is_refused),
        RULE(an_unknown_policy_has_none),
        RULE(a_caller_whose_time_is_over_leaves_the_fetch_running),
        RULE(callers_at_the_same_time_share_one_fetch),
    };
    return cmocka_run_group_tests(tests, start_guest, NULL);
}
