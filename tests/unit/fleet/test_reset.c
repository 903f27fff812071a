/* When a reset is due (§3.5), on the JSON of a state row. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "fleet/internal.h"

static int64_t at(const char *iso)
{
    int64_t us;
    assert_true(clock_parse_iso(iso, &us));
    return us;
}

static const struct reckoning {
    const char *name, *state, *lifecycle, *now;
    bool changed;
    const char *due_at;         /* "" for null */
} reckonings[] = {
    { "a schedule is reckoned from the time the key is first seen", "{}", "{'reset':{'schedule':'@weekly'}}",
      "2026-11-24T06:00:00Z", true, "2026-11-29T00:00:00.000000Z" },
    { "the zone counts", "{}", "{'reset':{'schedule':'@monthly','timezone':'Europe/Berlin'}}",
      "2026-11-24T06:00:00Z", true, "2026-11-30T23:00:00.000000Z" },
    { "nothing configured, nothing kept", "{'activity':{'last_seen_at':'2026-01-01T00:00:00Z'}}", "{}",
      "2026-11-24T06:00:00Z", false, "" },
    { "the same schedule is not reckoned again",
      "{'reset':{'schedule':'@weekly','timezone':null,'last_applied_at':null,'next_due_at':'2026-11-22T00:00:00Z'}}",
      "{'reset':{'schedule':'@weekly','timezone':''}}", "2026-11-24T06:00:00Z", false, "2026-11-22T00:00:00Z" },
    { "a change of schedule reckons again",
      "{'reset':{'schedule':'@weekly','timezone':null,'last_applied_at':null,'next_due_at':'2026-11-22T00:00:00Z'}}",
      "{'reset':{'schedule':'@monthly'}}", "2026-11-24T06:00:00Z", true, "2026-12-01T00:00:00.000000Z" },
    { "a change of zone reckons again",
      "{'reset':{'schedule':'@monthly','timezone':null,'last_applied_at':null,'next_due_at':'2026-12-01T00:00:00Z'}}",
      "{'reset':{'schedule':'@monthly','timezone':'Asia/Tokyo'}}", "2026-11-24T06:00:00Z", true, "2026-11-30T15:00:00.000000Z" },
    { "a schedule that was taken away leaves nothing due",
      "{'reset':{'schedule':'@weekly','timezone':null,'last_applied_at':null,'next_due_at':'2026-11-22T00:00:00Z'}}",
      "{}", "2026-11-24T06:00:00Z", true, "" },
    { "a one-time reset that was applied is not due again",
      "{'reset':{'schedule':'2026-11-01T00:00:00Z','timezone':null,'last_applied_at':'2026-11-02T00:00:00Z','next_due_at':null}}",
      "{'reset':{'schedule':'2026-11-01T00:00:00Z'}}", "2026-11-24T06:00:00Z", false, "" },
    { "a one-time reset that passed while the key was unknown is due", "{}",
      "{'reset':{'schedule':'2026-11-01T00:00:00Z'}}", "2026-11-24T06:00:00Z", true, "2026-11-01T00:00:00.000000Z" },
    { "an unreadable schedule changes nothing", "{}", "{'reset':{'schedule':'every other day'}}",
      "2026-11-24T06:00:00Z", false, "" },
    { "garbage in the row is replaced", "{'reset':7}", "{'reset':{'schedule':'@daily'}}",
      "2026-11-24T06:00:00Z", true, "2026-11-25T00:00:00.000000Z" },
};

static json_t *parse(const char *text)
{
    char json[512];
    snprintf(json, sizeof json, "%s", text);
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *value = json_loads(json, 0, NULL);
    assert_non_null(value);
    return value;
}

static const char *due_at(const json_t *state)
{
    const char *text = json_text(json_object_get(state, "reset"), "next_due_at");
    return text ? text : "";
}

static void due_times_are_reckoned(void **unused)
{
    for (size_t i = 0; i < COUNT_OF(reckonings); i++) {
        const struct reckoning *row = &reckonings[i];
        cleanup_json json_t *state = parse(row->state), *lifecycle = parse(row->lifecycle);
        print_message("  %s\n", row->name);
        assert_int_equal(reset_reckon(state, lifecycle, at(row->now)), row->changed);
        assert_string_equal(due_at(state), row->due_at);
    }
}

static void a_reset_is_due_from_its_moment_on(void **unused)
{
    cleanup_json json_t *state = parse("{'reset':{'next_due_at':'2026-11-24T06:00:00Z'}}"), *none = parse("{}");
    assert_false(reset_is_due(state, at("2026-11-24T05:59:59.999999Z")));
    assert_true(reset_is_due(state, at("2026-11-24T06:00:00Z")));
    assert_false(reset_is_due(none, at("2026-11-24T06:00:00Z")));
}

static void a_mark_sets_the_next_time(void **unused)
{
    cleanup_json json_t *lifecycle = parse("{'reset':{'schedule':'@weekly'}}"), *state = parse("{}");
    assert_true(reset_reckon(state, lifecycle, at("2026-11-24T06:00:00Z")));
    reset_mark(state, lifecycle, at("2026-12-15T10:00:00Z"));
    assert_string_equal(due_at(state), "2026-12-20T00:00:00.000000Z");
    assert_string_equal(json_text(json_object_get(state, "reset"), "last_applied_at"), "2026-12-15T10:00:00.000000Z");
}

static void a_one_time_reset_has_no_next(void **unused)
{
    cleanup_json json_t *lifecycle = parse("{'reset':{'schedule':'2026-11-24T00:00:00Z'}}"), *state = parse("{}");
    assert_true(reset_reckon(state, lifecycle, at("2026-11-23T06:00:00Z")));
    reset_mark(state, lifecycle, at("2026-11-24T00:00:10Z"));
    assert_string_equal(due_at(state), "");
    assert_false(reset_reckon(state, lifecycle, at("2026-11-25T00:00:00Z")));
}

static void a_reset_on_demand_does_not_use_up_the_scheduled_one(void **unused)
{
    cleanup_json json_t *lifecycle = parse("{'reset':{'schedule':'2026-12-24T00:00:00Z'}}"), *state = parse("{}");
    assert_true(reset_reckon(state, lifecycle, at("2026-11-23T06:00:00Z")));
    reset_mark(state, lifecycle, at("2026-11-24T00:00:10Z"));
    assert_string_equal(due_at(state), "2026-12-24T00:00:00.000000Z");
}

static void other_members_of_the_row_are_kept(void **unused)
{
    cleanup_json json_t *lifecycle = parse("{'reset':{'schedule':'@daily'}}");
    cleanup_json json_t *state = parse("{'activity':{'last_seen_at':'2026-01-01T00:00:00Z'},'x':1}");
    assert_true(reset_reckon(state, lifecycle, at("2026-11-23T06:00:00Z")));
    reset_mark(state, lifecycle, at("2026-11-24T00:00:10Z"));
    assert_string_equal(json_text(json_object_get(state, "activity"), "last_seen_at"), "2026-01-01T00:00:00Z");
    assert_int_equal(json_integer_value(json_object_get(state, "x")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_times_are_reckoned),
        cmocka_unit_test(a_reset_is_due_from_its_moment_on),
        cmocka_unit_test(a_mark_sets_the_next_time),
        cmocka_unit_test(a_one_time_reset_has_no_next),
        cmocka_unit_test(a_reset_on_demand_does_not_use_up_the_scheduled_one),
        cmocka_unit_test(other_members_of_the_row_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
