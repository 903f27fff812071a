/* The handlers of /api/v1 over a real store and real policies: the recorded exchanges of tests/data/examples.jsonl replayed in their
 * order, and a table for what they do not show. The fleet is scripted: it has the terminals that a test gives it. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/json.h"

/* --- the scripted fleet ------------------------------------------------------------------------------------------- */

static struct {
    struct terminal_info *infos;
    size_t count;
    unsigned policy_changes;
    char user_id[64], policy_id[64], context_id[64];    /* of the last filter; "*" for NULL */
    bool only_idle, reset;
} script;

static void remember_filter(const struct terminal_filter *filter)
{
    snprintf(script.user_id, sizeof script.user_id, "%s", filter->user_id ? filter->user_id : "*");
    snprintf(script.policy_id, sizeof script.policy_id, "%s", filter->policy_id ? filter->policy_id : "*");
    snprintf(script.context_id, sizeof script.context_id, "%s", filter->context_id ? filter->context_id : "*");
}

int fleet_stop(struct fleet *fleet, const struct terminal_filter *filter, bool only_idle, bool reset, struct stop_result *result,
               struct error *err)
{
    bool known = filter->user_id && strcmp(filter->user_id, "golden-alice") == 0;

    remember_filter(filter);
    script.only_idle = only_idle;
    script.reset = reset;
    if (filter->user_id && strcmp(filter->user_id, "unlucky") == 0)
        return error_set(err, ERR_UNAVAILABLE, "no engine answers");
    *result = (struct stop_result){ .matched = known, .stopped = known, .reset = known && reset };
    return 0;
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

size_t fleet_list(struct fleet *fleet, const struct terminal_filter *filter, struct terminal_info **infos)
{
    remember_filter(filter);
    *infos = xcalloc(script.count + 1, sizeof **infos);
    for (size_t i = 0; i < script.count; i++) {
        struct terminal_info *info = &(*infos)[i];
        *info = script.infos[i];
        info->key = terminal_key_copy(info->key);
        info->name = copy(info->name);
        info->instance_id = copy(info->instance_id);
        info->host = copy(info->host);
        info->message = copy(info->message);
    }
    return script.count;
}

void terminal_info_clear(struct terminal_info *info)
{
    terminal_key_free(info->key);
    free(info->name);
    free(info->instance_id);
    free(info->host);
    free(info->message);
}

const char *terminal_phase_name(enum terminal_phase phase)
{
    return phase == TERMINAL_READY ? "ready" : "failed";
}

void fleet_count(struct fleet *fleet, struct fleet_counts *counts)
{
    *counts = (struct fleet_counts){ .websockets = 3 };
    counts->by_phase[TERMINAL_READY] = 7;
}

void fleet_policies_changed(struct fleet *fleet)
{
    script.policy_changes++;
}

/* --- what each test has ------------------------------------------------------------------------------------------- */

static char *allowed[] = { (char *)"open-terminal:*" };
static struct settings settings = {
    .image = (char *)"open-terminal:0.14.5", .max_cpu = (char *)"2", .max_memory = (char *)"4Gi", .allowed_images = { allowed, 1 },
    .idle_timeout_minutes = 30,
};

struct fixture {
    char dir[32];
    struct store *store;
    struct policies *policies;
    struct api *api;
};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    cleanup_json json_t *none = json_array();
    struct error err = { 0 };

    memset(&script, 0, sizeof script);
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/control-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    cleanup_free char *url = xasprintf("sqlite:///%s/test.db", fixture->dir);
    fixture->store = store_open(url, fixture->dir, &err);
    if (!fixture->store)
        fail_msg("%s", err.text);
    fixture->policies = policies_new(policy_snapshot_new(policy_limits_new(&settings), none));
    fixture->api = api_new(&(struct api_options){ &settings, fixture->store, fixture->policies, NULL, "docker" });
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *command = xasprintf("rm -rf '%s'", fixture->dir);

    api_free(fixture->api);
    policies_free(fixture->policies);
    store_close(fixture->store);
    clock_fake_set(-1, -1);
    free(fixture);
    return system(command);
}

struct reply {
    int status;
    char allow[64], *cursor, *body;
};

static void reply_clear(struct reply *reply)
{
    free(reply->cursor);
    free(reply->body);
}
#define cleanup_reply __attribute__((cleanup(reply_clear)))

static struct reply ask_as(struct fixture *fixture, const char *method, const char *target, const char *body, const char *type)
{
    struct str path = str_from(target), query = { NULL, 0 };
    size_t mark = str_find_char(path, '?');
    if (mark != SIZE_MAX) {
        query = str_skip(path, mark + 1);
        path.len = mark;
    }
    struct api_request request = { str_from(method), path, query, str_from(type), type != NULL, str_from(body) };
    struct api_response response;

    api_handle(fixture->api, &request, &response);
    assert_string_equal(response.content_type, "application/json");
    struct reply reply = { .status = response.status };
    snprintf(reply.allow, sizeof reply.allow, "%s", response.allow ? response.allow : "");
    reply.cursor = steal(&response.next_cursor);
    reply.body = buf_take(&response.body);
    api_response_clear(&response);
    return reply;
}

static struct reply ask(struct fixture *fixture, const char *method, const char *target, const char *body)
{
    return ask_as(fixture, method, target, body, "application/json");
}

/* --- the recorded exchanges --------------------------------------------------------------------------------------- */

static bool matches(const json_t *wanted, const json_t *got);

static bool text_matches(const char *wanted, const json_t *got)
{
    const char *text = json_string_value(got);
    int64_t time_us;

    if (!text)
        return false;
    if (strncmp(wanted, "<ts>", 4) == 0)        /* always with its offset, unlike the original */
        return strlen(text) == 32 && strcmp(text + 26, "+00:00") == 0 && text[10] == ' ' && clock_parse_iso(text, &time_us);
    return strcmp(wanted, text) == 0;
}

static bool object_matches(const json_t *wanted, const json_t *got)
{
    const char *key;
    json_t *value;

    if (json_object_size(wanted) != json_object_size(got))
        return false;
    json_object_foreach((json_t *)wanted, key, value)
        if (!matches(value, json_object_get(got, key)))
            return false;
    return true;
}

static bool array_matches(const json_t *wanted, const json_t *got)
{
    size_t i;
    json_t *value;

    if (json_array_size(wanted) != json_array_size(got))
        return false;
    json_array_foreach(wanted, i, value)
        if (!matches(value, json_array_get(got, i)))
            return false;
    return true;
}

static bool matches(const json_t *wanted, const json_t *got)
{
    if (!got)
        return false;
    if (json_is_string(wanted))
        return text_matches(json_string_value(wanted), got);
    if (json_typeof(wanted) != json_typeof(got))
        return false;
    if (json_is_object(wanted))
        return object_matches(wanted, got);
    return json_is_array(wanted) ? array_matches(wanted, got) : json_equal(wanted, got) == 1;
}

static const char *content_type_of(const json_t *row)
{
    size_t i;
    json_t *header;

    json_array_foreach(json_object_get(row, "req_headers"), i, header)
        if (strcmp(json_string_value(json_array_get(header, 0)), "Content-Type") == 0)
            return json_string_value(json_array_get(header, 1));
    return NULL;
}

static void replay(struct fixture *fixture, const json_t *row)
{
    cleanup_reply struct reply reply = ask_as(fixture, json_text(row, "method"), json_text(row, "path"), json_text(row, "req_body"),
                                              content_type_of(row));
    cleanup_json json_t *body = json_loads(reply.body, JSON_DECODE_ANY, NULL);

    if (reply.status != (int)json_integer_value(json_object_get(row, "status")) || !matches(json_object_get(row, "body"), body))
        fail_msg("%s: %d %s", json_text(row, "id"), reply.status, reply.body);
}

static void recorded_exchanges_are_answered_alike(void **state)
{
    cleanup_file FILE *file = fopen(TEST_DATA "/examples.jsonl", "r");
    char *line = NULL;
    size_t size = 0, count = 0;

    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        cleanup_json json_t *row = json_loads(line, 0, NULL);
        bool refused = json_integer_value(json_object_get(row, "status")) == 401;
        if (strncmp(json_text(row, "path"), "/api/v1/", 8) != 0 || refused)     /* keys are looked at before */
            continue;
        replay(*state, row);
        count++;
    }
    free(line);
    assert_true(count >= 29);
}

/* --- what they do not show ---------------------------------------------------------------------------------------- */

#define NOT_FOUND "{\"detail\":\"Not Found\"}"
#define NO_METHOD "{\"detail\":\"Method Not Allowed\"}"
#define TOO_SHORT(name) "{\"detail\":[{\"type\":\"string_too_short\",\"loc\":[\"body\",\"" name "\"],\"msg\":\"String should have at least 1 " \
    "character\",\"input\":\"\",\"ctx\":{\"min_length\":1}}]}"

static const struct row {
    const char *name, *method, *target, *body;
    int status;
    const char *allow, *answer;         /* NULL: any */
} rows[] = {
    { "an unknown path", "GET", "/api/v1/nope", NULL, 404, "", NOT_FOUND },
    { "health is not below /api/v1", "GET", "/api/v1/health", NULL, 404, "", NOT_FOUND },
    { "nothing after the prefix", "GET", "/api/v1/", NULL, 404, "", NOT_FOUND },
    { "a slash at the end", "GET", "/api/v1/policies/", NULL, 404, "", NOT_FOUND },
    { "a segment too many", "GET", "/api/v1/policies/a/b", NULL, 404, "", NOT_FOUND },
    { "a segment too many below a lifecycle", "GET", "/api/v1/policies/a/lifecycle/x", NULL, 404, "", NOT_FOUND },
    { "an encoded name of a route", "GET", "/api/v1/%73tatus", NULL, 404, "", NOT_FOUND },
    { "a method of no policy list", "PUT", "/api/v1/policies", NULL, 405, "GET, POST", NO_METHOD },
    { "a method of no policy", "POST", "/api/v1/policies/a", NULL, 405, "GET, PUT, PATCH, DELETE", NO_METHOD },
    { "a method of no lifecycle", "DELETE", "/api/v1/policies/a/lifecycle", NULL, 405, "GET, PUT", NO_METHOD },
    { "a method of no status", "POST", "/api/v1/status", NULL, 405, "GET", NO_METHOD },
    { "stopping by GET", "GET", "/api/v1/terminals/stop", NULL, 405, "POST", NO_METHOD },
    { "an unknown policy", "GET", "/api/v1/policies/nope", NULL, 404, "", "{\"detail\":\"Policy 'nope' not found\"}" },
    { "an id is decoded once", "GET", "/api/v1/policies/a%2520b", NULL, 404, "", "{\"detail\":\"Policy 'a%20b' not found\"}" },
    { "an encoded slash in an id", "GET", "/api/v1/policies/a%2Fb", NULL, 422, "", NULL },
    { "a NUL in an id", "GET", "/api/v1/policies/a%00", NULL, 422, "", NULL },
    { "a broken escape in an id", "GET", "/api/v1/policies/a%zz", NULL, 422, "", NULL },
    { "an id that is not UTF-8", "PUT", "/api/v1/policies/%ff", "{}", 422, "", NULL },
    { "an empty id", "POST", "/api/v1/policies", "{\"id\":\"\"}", 422, "", TOO_SHORT("id") },
    { "a slash in a new id", "POST", "/api/v1/policies", "{\"id\":\"a/b\"}", 422, "", NULL },
    { "a number for an id", "POST", "/api/v1/policies", "{\"id\":1}", 422, "",
      "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"id\"],\"msg\":\"Input should be a valid string\",\"input\":1}]}" },
    { "a list for data", "POST", "/api/v1/policies", "{\"id\":\"a\",\"data\":[]}", 422, "",
      "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\",\"data\"],\"msg\":\"Input should be a valid dictionary or object to "
      "extract fields from\",\"input\":[]}]}" },
    { "a wrong member of new data names its place", "POST", "/api/v1/policies", "{\"id\":\"a\",\"data\":{\"image\":1}}", 422, "",
      "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"data\",\"image\"],\"msg\":\"Input should be a valid string\",\"input\":1}]}" },
    { "a patch of an unknown policy", "PATCH", "/api/v1/policies/nope", "{}", 404, "", "{\"detail\":\"Policy 'nope' not found\"}" },
    { "a patch that is no object", "PATCH", "/api/v1/policies/nope", "[]", 422, "", NULL },
    { "deleting an unknown policy", "DELETE", "/api/v1/policies/nope", NULL, 404, "", "{\"detail\":\"Policy 'nope' not found\"}" },
    { "a quantity that does not parse", "PUT", "/api/v1/policies/a", "{\"cpu_limit\":\"lots\"}", 400, "",
      "{\"detail\":\"Invalid cpu_limit 'lots'\"}" },
    { "an unknown zone", "PUT", "/api/v1/policies/a/lifecycle", "{\"reset\":{\"schedule\":\"@daily\",\"timezone\":\"Mars/Olympus\"}}", 400, "",
      "{\"detail\":\"Invalid lifecycle configuration\"}" },
    { "a number for a schedule", "PUT", "/api/v1/policies/a/lifecycle", "{\"reset\":{\"schedule\":5}}", 400, "",
      "{\"detail\":\"Invalid lifecycle configuration\"}" },
    { "no reset at all", "PUT", "/api/v1/policies/a/lifecycle", "{\"reset\":null,\"x\":null}", 200, "",
      "{\"policy_id\":\"a\",\"data\":{\"x\":null}}" },
    { "an empty schedule is none", "PUT", "/api/v1/policies/a/lifecycle", "{\"reset\":{\"schedule\":\"\",\"timezone\":null}}", 200, "", NULL },
    { "stopping an empty user", "POST", "/api/v1/terminals/stop", "{\"user_id\":\"\"}", 422, "", TOO_SHORT("user_id") },
    { "stopping an empty policy", "POST", "/api/v1/terminals/stop", "{\"user_id\":\"a\",\"policy_id\":\"\"}", 422, "", TOO_SHORT("policy_id") },
    { "stopping in a context of another kind", "POST", "/api/v1/terminals/stop", "{\"user_id\":\"a\",\"context_id\":\"x\"}", 400, "",
      "{\"detail\":\"only chat and automation contexts are supported\"}" },
    { "stopping without an engine", "POST", "/api/v1/terminals/stop", "{\"user_id\":\"unlucky\"}", 503, "",
      "{\"detail\":\"no engine answers\"}" },
    { "refreshing an empty user", "POST", "/api/v1/terminals/refresh", "{\"user_id\":\"\"}", 422, "", TOO_SHORT("user_id") },
    { "refreshing an empty context", "POST", "/api/v1/terminals/refresh", "{\"context_id\":\"\"}", 422, "", TOO_SHORT("context_id") },
    { "refreshing a bad context", "POST", "/api/v1/terminals/refresh", "{\"context_id\":\"x\"}", 400, "",
      "{\"detail\":\"only chat and automation contexts are supported\"}" },
    { "a word that is no boolean", "POST", "/api/v1/terminals/refresh", "{\"reset\":\"perhaps\"}", 422, "",
      "{\"detail\":[{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"reset\"],\"msg\":\"Input should be a valid boolean, unable to interpret "
      "input\",\"input\":\"perhaps\"}]}" },
    { "a limit that is no number", "GET", "/api/v1/terminals?limit=x", NULL, 422, "", NULL },
    { "a limit of nothing", "GET", "/api/v1/terminals?limit=0", NULL, 422, "", NULL },
    { "a cursor that is none of ours", "GET", "/api/v1/terminals?cursor=zz", NULL, 422, "", NULL },
    { "a parameter given twice", "GET", "/api/v1/terminals?user_id=a&user_id=b", NULL, 422, "", NULL },
    { "no terminals", "GET", "/api/v1/terminals", NULL, 200, "", "[]" },
};

static void every_other_rule_of_the_table(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        cleanup_reply struct reply reply = ask(*state, row->method, row->target, row->body);
        if (reply.status != row->status || strcmp(reply.allow, row->allow) != 0 || (row->answer && strcmp(reply.body, row->answer) != 0))
            fail_msg("%s: %d allow '%s' %s", row->name, reply.status, reply.allow, reply.body);
    }
}

static void expect(struct fixture *fixture, const char *method, const char *target, const char *body, const char *data)
{
    cleanup_reply struct reply reply = ask(fixture, method, target, body);
    cleanup_json json_t *object = json_loads(reply.body, 0, NULL);
    cleanup_free char *got = json_write(json_object_get(object, "data"));

    if (reply.status / 100 != 2 || strcmp(got, data) != 0)
        fail_msg("%s %s: %d %s", method, target, reply.status, reply.body);
}

static void a_put_replaces_and_a_patch_merges(void **state)
{
    expect(*state, "PUT", "/api/v1/policies/a", "{\"cpu_limit\":\"1\",\"env\":{\"A\":\"1\",\"B\":\"2\"},\"x\":1}",
           "{\"env\":{\"A\":\"1\",\"B\":\"2\"},\"cpu_limit\":\"1\",\"x\":1}");
    expect(*state, "PATCH", "/api/v1/policies/a", "{\"env\":{\"A\":null,\"C\":\"3\"},\"cpu_limit\":\"9\"}",
           "{\"env\":{\"B\":\"2\",\"C\":\"3\"},\"cpu_limit\":\"2\",\"x\":1}");
    expect(*state, "PUT", "/api/v1/policies/a", "{\"memory_limit\":\"1Gi\"}", "{\"memory_limit\":\"1Gi\"}");
    expect(*state, "GET", "/api/v1/policies/a", NULL, "{\"memory_limit\":\"1Gi\"}");
}

static void unknown_members_come_back_as_they_were(void **state)
{
    expect(*state, "PUT", "/api/v1/policies/a", "{\"z\":{\"b\":[1,null,0.1,-2.5e-7,\"\\u00e9\"],\"a\":true}}",
           "{\"z\":{\"b\":[1,null,0.1,-2.5e-7,\"\xc3\xa9\"],\"a\":true}}");
    expect(*state, "GET", "/api/v1/policies/a", NULL, "{\"z\":{\"b\":[1,null,0.1,-2.5e-7,\"\xc3\xa9\"],\"a\":true}}");
}

static const struct policy *in_force(struct policy_snapshot *snapshot)
{
    return policy_snapshot_find(snapshot, STR_LITERAL("a"));
}

static void a_write_is_in_force_at_once(void **state)
{
    struct fixture *fixture = *state;

    expect(fixture, "PUT", "/api/v1/policies/a", "{\"idle_timeout_minutes\":5}", "{\"idle_timeout_minutes\":5}");
    struct policy_snapshot *snapshot = policies_current(fixture->policies);
    assert_int_equal(in_force(snapshot)->idle_timeout_minutes, 5);
    policy_snapshot_unref(snapshot);

    expect(fixture, "PUT", "/api/v1/policies/a/lifecycle", "{\"reset\":{\"schedule\":\"@weekly\"}}", "{\"reset\":{\"schedule\":\"@weekly\"}}");
    snapshot = policies_current(fixture->policies);
    assert_non_null(json_object_get(in_force(snapshot)->lifecycle, "reset"));
    policy_snapshot_unref(snapshot);

    cleanup_reply struct reply reply = ask(fixture, "DELETE", "/api/v1/policies/a", NULL);
    assert_string_equal(reply.body, "{\"ok\":true}");
    snapshot = policies_current(fixture->policies);
    assert_null(in_force(snapshot));
    policy_snapshot_unref(snapshot);
    assert_int_equal(script.policy_changes, 3);
    expect(fixture, "GET", "/api/v1/policies/a/lifecycle", NULL, "{}");
}

static void new_settings_are_in_force_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct settings lower = settings;

    lower.max_cpu = (char *)"1";
    api_reconfigure(fixture->api, &lower);
    expect(fixture, "PUT", "/api/v1/policies/a", "{\"cpu_limit\":\"4\"}", "{\"cpu_limit\":\"1\"}");
}

static void the_status_has_its_fields_in_order(void **state)
{
    expect(*state, "PUT", "/api/v1/policies/a", "{}", "{}");
    cleanup_reply struct reply reply = ask(*state, "GET", "/api/v1/status", NULL);
    assert_string_equal(reply.body,
        "{\"status\":true,\"backend\":\"docker\",\"image\":\"open-terminal:0.14.5\",\"idle_timeout_minutes\":30,\"max_cpu\":\"2\","
        "\"max_memory\":\"4Gi\",\"max_storage\":null,\"allowed_images\":[\"open-terminal:*\"],\"active_terminals\":7,\"policy_count\":1,"
        "\"active_websocket_connections\":3}");
}

static void a_stop_defaults_and_a_refresh_does_not(void **state)
{
    cleanup_reply struct reply stop = ask(*state, "POST", "/api/v1/terminals/stop", "{\"user_id\":\"golden-alice\"}");
    assert_string_equal(stop.body, "{\"matched\":1,\"stopped\":1,\"skipped_active\":0}");
    assert_string_equal(script.policy_id, "default");
    assert_string_equal(script.context_id, "default");
    assert_false(script.only_idle || script.reset);

    cleanup_reply struct reply refresh = ask(*state, "POST", "/api/v1/terminals/refresh", "{\"policy_id\":\"p\",\"user_id\":null}");
    assert_string_equal(refresh.body, "{\"matched\":0,\"refreshed\":0,\"reset\":0,\"skipped_active\":0}");
    assert_string_equal(script.user_id, "*");
    assert_string_equal(script.policy_id, "p");
    assert_string_equal(script.context_id, "*");
    assert_true(script.only_idle && !script.reset);
}

/* --- the list of terminals ---------------------------------------------------------------------------------------- */

static void fill_list(size_t count)
{
    script.infos = xcalloc(count, sizeof *script.infos);
    script.count = count;
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *user = xasprintf("user-%03zu", i);
        script.infos[i] = (struct terminal_info){
            .key = terminal_key_new(str_from(user), str_from("p"), str_from("default")), .status = "missing", .phase = TERMINAL_FAILED,
        };
    }
}

static void empty_list(void)
{
    for (size_t i = 0; i < script.count; i++)
        terminal_info_clear(&script.infos[i]);
    free(script.infos);
}

static void a_terminal_shows_all_but_its_key(void **state)
{
    clock_fake_set(1000000, 1764000000000000LL);
    fill_list(2);
    struct terminal_info *info = &script.infos[0];
    info->phase = TERMINAL_READY;
    info->status = "running";
    info->name = xstrdup("terminals-abc");
    info->instance_id = xstrdup("0123");
    info->host = xstrdup("172.18.0.2");
    info->port = 8000;
    info->last_active_us = 1764000000000000LL - 61500000;
    info->idle_timeout_minutes = 30;
    script.infos[1].message = xstrdup("no such image");

    cleanup_reply struct reply reply = ask(*state, "GET", "/api/v1/terminals?user_id=a%20b&policy_id=p", NULL);
    assert_string_equal(reply.body,
        "[{\"user_id\":\"user-000\",\"policy_id\":\"p\",\"context_id\":\"default\",\"status\":\"running\",\"instance_id\":\"0123\","
        "\"instance_name\":\"terminals-abc\",\"host\":\"172.18.0.2\",\"port\":8000,\"last_active_at\":\"2025-11-24T15:58:58.500000Z\","
        "\"idle_seconds\":61,\"idle_timeout_minutes\":30,\"phase\":\"ready\",\"message\":null},"
        "{\"user_id\":\"user-001\",\"policy_id\":\"p\",\"context_id\":\"default\",\"status\":\"missing\",\"instance_id\":null,"
        "\"instance_name\":null,\"host\":null,\"port\":null,\"last_active_at\":null,\"idle_seconds\":null,\"idle_timeout_minutes\":null,"
        "\"phase\":\"failed\",\"message\":\"no such image\"}]");
    assert_string_equal(script.user_id, "a b");
    assert_string_equal(script.policy_id, "p");
    assert_null(reply.cursor);
    empty_list();
}

static void a_long_list_comes_in_pages_without_gap_or_overlap(void **state)
{
    size_t seen = 0, pages = 0;
    cleanup_free char *cursor = NULL;

    fill_list(25);
    do {
        cleanup_free char *target = cursor ? xasprintf("/api/v1/terminals?limit=10&cursor=%s", cursor)
                                           : xstrdup("/api/v1/terminals?limit=10");
        cleanup_reply struct reply reply = ask(*state, "GET", target, NULL);
        cleanup_json json_t *page = json_loads(reply.body, 0, NULL);
        for (size_t i = 0; i < json_array_size(page); i++, seen++) {
            cleanup_free char *user = xasprintf("user-%03zu", seen);
            assert_string_equal(json_text(json_array_get(page, i), "user_id"), user);
        }
        free(cursor);
        cursor = steal(&reply.cursor);
        pages++;
    } while (cursor);
    assert_int_equal(seen, 25);
    assert_int_equal(pages, 3);
    empty_list();
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(recorded_exchanges_are_answered_alike),
        RULE(every_other_rule_of_the_table),
        RULE(a_put_replaces_and_a_patch_merges),
        RULE(unknown_members_come_back_as_they_were),
        RULE(a_write_is_in_force_at_once),
        RULE(new_settings_are_in_force_at_once),
        RULE(the_status_has_its_fields_in_order),
        RULE(a_stop_defaults_and_a_refresh_does_not),
        RULE(a_terminal_shows_all_but_its_key),
        RULE(a_long_list_comes_in_pages_without_gap_or_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
