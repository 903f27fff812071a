/* When a reset is due (orchestrator.md §3.5). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "policy/schedule.h"

static int64_t moment(const char *iso)
{
    int64_t us;

    if (!clock_parse_iso(iso, &us))
        fail_msg("not a time: %s", iso);
    return us;
}

static struct schedule *parse(const char *text, const char *zone)
{
    struct error err = { 0 };
    struct schedule *schedule = schedule_parse(text, zone, &err);

    if (!schedule)
        fail_msg("%s in %s: %s", text, zone ? zone : "UTC", err.text);
    return schedule;
}

static void due_is_the_first_time_strictly_after(void **state)
{
    static const struct { const char *name, *text, *zone, *after, *due; } rows[] = {
        { "weekly is Sunday 00:00", "@weekly", NULL, "2026-11-24T12:00:00Z", "2026-11-29T00:00:00Z" },
        { "monthly is the 1st", "@monthly", "", "2026-11-24T12:00:00Z", "2026-12-01T00:00:00Z" },
        { "yearly", "@yearly", "UTC", "2026-11-24T12:00:00Z", "2027-01-01T00:00:00Z" },
        { "annually", "@Annually", NULL, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z" },
        { "daily", "@daily", NULL, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z" },
        { "midnight in a zone", "@midnight", "Europe/Berlin", "2026-11-24T12:00:00Z", "2026-11-24T23:00:00Z" },
        { "hourly", "@hourly", NULL, "2026-11-24T12:59:59.999999Z", "2026-11-24T13:00:00Z" },
        { "strictly after", "0 12 * * *", NULL, "2026-11-24T12:00:00Z", "2026-11-25T12:00:00Z" },
        { "a microsecond before", "0 12 * * *", NULL, "2026-11-24T11:59:59.999999Z", "2026-11-24T12:00:00Z" },
        { "weekly in a zone", "@weekly", "Europe/Berlin", "2026-11-24T12:00:00Z", "2026-11-28T23:00:00Z" },
        { "steps", "*/15 * * * *", NULL, "2026-11-24T12:16:00Z", "2026-11-24T12:30:00Z" },
        { "step from a value", "5/20 * * * *", NULL, "2026-11-24T12:26:00Z", "2026-11-24T12:45:00Z" },
        { "list and range", "0 8-10,20 * * *", NULL, "2026-11-24T10:00:00Z", "2026-11-24T20:00:00Z" },
        { "names", "30 4 * jan MON", NULL, "2026-11-24T00:00:00Z", "2027-01-04T04:30:00Z" },
        { "7 is Sunday", "0 0 * * 7", NULL, "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z" },
        { "range across the week's end", "0 0 * * fri-mon", NULL, "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z" },
        { "range to 7", "0 0 * * 6-7", NULL, "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z" },
        { "either day or weekday", "0 0 13 * fri", NULL, "2026-11-08T00:00:00Z", "2026-11-13T00:00:00Z" },
        { "either, the weekday first", "0 0 13 * fri", NULL, "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z" },
        { "star leaves the weekday alone", "0 0 * * fri", NULL, "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z" },
        { "a full range is a choice", "0 0 13 * 0-6", NULL, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z" },
        { "stepped stars are choices", "0 0 */10 * */3", NULL, "2026-11-01T12:00:00Z", "2026-11-04T00:00:00Z" },
        { "question mark is any", "0 0 13 * ?", NULL, "2026-11-01T00:00:00Z", "2026-11-13T00:00:00Z" },
        { "last day", "0 0 L * *", NULL, "2027-02-01T00:00:00Z", "2027-02-28T00:00:00Z" },
        { "sixth field is seconds", "* * * * * 30", NULL, "2026-11-24T12:00:30Z", "2026-11-24T12:01:30Z" },
        { "every ten seconds", "* * * * * */10", NULL, "2026-11-24T12:00:59Z", "2026-11-24T12:01:00Z" },
        { "leap day", "0 0 29 2 *", NULL, "2026-11-24T00:00:00Z", "2028-02-29T00:00:00Z" },
        { "leap day over 2100", "0 0 29 2 *", NULL, "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z" },
        { "the 31st skips short months", "0 0 31 * *", NULL, "2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z" },
        { "before 1970", "0 0 1 1 *", NULL, "1968-06-01T00:00:00Z", "1969-01-01T00:00:00Z" },
        { "far beyond the listed changes", "0 12 * * *", "Europe/Berlin", "2090-07-01T00:00:00Z", "2090-07-01T10:00:00Z" },
        { "half-hour zone", "0 0 * * *", "Asia/Kolkata", "2026-11-24T00:00:00Z", "2026-11-24T18:30:00Z" },
        { "date line jump", "0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2011-12-30T10:00:00Z" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct schedule *schedule = parse(rows[i].text, rows[i].zone);
        int64_t due = schedule_next(schedule, moment(rows[i].after));
        char text[28];

        clock_format_iso(due == INT64_MAX ? 0 : due, text);
        if (due != moment(rows[i].due))
            fail_msg("%s: due %s", rows[i].name, text);
        assert_false(schedule_is_once(schedule));
        schedule_free(schedule);
    }
}

static void daylight_saving_skips_nothing_and_doubles_nothing(void **state)
{
    /* Gap: the end of the gap. Twice: once, the first time. */
    static const struct { const char *name, *text, *zone, *after, *due; } rows[] = {
        { "Berlin gap 02:30", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z" },
        { "Berlin the day after", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z" },
        { "Berlin overlap 02:30", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z" },
        { "Berlin overlap not again", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z" },
        { "Berlin overlap, seen in between", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", "2026-10-26T01:30:00Z" },
        { "New York gap 02:30", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z" },
        { "New York overlap 01:30", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z" },
        { "New York overlap not again", "30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z" },
        { "every minute across the gap", "* * * * *", "Europe/Berlin", "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z" },
        { "every minute after the gap", "* * * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T01:01:00Z" },
        { "southern summer", "0 12 * * *", "Australia/Sydney", "2060-01-10T12:00:00Z", "2060-01-11T01:00:00Z" },
        { "southern winter", "0 12 * * *", "Australia/Sydney", "2060-07-10T12:00:00Z", "2060-07-11T02:00:00Z" },
        { "once in a gap", "2026-03-29T02:15:00", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-03-29T01:00:00Z" },
        { "once in an overlap", "2026-10-25T02:15:00", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-10-25T00:15:00Z" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct schedule *schedule = parse(rows[i].text, rows[i].zone);
        int64_t due = schedule_next(schedule, moment(rows[i].after));
        char text[28];

        clock_format_iso(due, text);
        if (due != moment(rows[i].due))
            fail_msg("%s: due %s", rows[i].name, text);
        schedule_free(schedule);
    }
}

static void next_always_ascends(void **state)
{
    static const char *const texts[] = {
        "* * * * *", "*/7 1-3 * * *", "30 2 * * *", "0 0 29 2 *", "0 3 L * *", "15 1,2 1-7 * sun", "0 0 31 * *", "* * * * * */13",
    };
    static const char *const zones[] = {
        "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Europe/Dublin",
        "America/Nuuk", "Asia/Kathmandu",
    };

    for (size_t t = 0; t < COUNT_OF(texts); t++) {
        for (size_t z = 0; z < COUNT_OF(zones); z++) {
            struct schedule *schedule = parse(texts[t], zones[z]);

            for (int64_t at = moment("2026-03-20T00:00:00Z"), step = 0; step < 400; step++) {
                int64_t due = schedule_next(schedule, at);

                if (due <= at || schedule_next(schedule, due - 1) != due)
                    fail_msg("%s in %s after %" PRId64, texts[t], zones[z], at);
                at = due + (step % 20 == 0 ? INT64_C(40000000000000) / 9 : 0);
            }
            schedule_free(schedule);
        }
    }
}

static void one_time_schedules_give_their_time_whatever_the_clock_says(void **state)
{
    static const struct { const char *text, *zone, *due; } rows[] = {
        { "2026-11-24T05:59:21Z", "Europe/Berlin", "2026-11-24T05:59:21Z" },
        { "2026-11-24T05:59:21.5+02:00", NULL, "2026-11-24T03:59:21.500000Z" },
        { "2026-11-24T05:59:21", "Europe/Berlin", "2026-11-24T04:59:21Z" },
        { "2026-11-24 05:59", NULL, "2026-11-24T05:59:00Z" },
        { "2026-11-24", "America/New_York", "2026-11-24T05:00:00Z" },
        { "20261124T055921Z", NULL, "2026-11-24T05:59:21Z" },
        { "2026-11-24T05:59:21-0330", NULL, "2026-11-24T09:29:21Z" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct schedule *schedule = parse(rows[i].text, rows[i].zone);

        assert_true(schedule_is_once(schedule));
        if (schedule_next(schedule, 0) != moment(rows[i].due) || schedule_next(schedule, INT64_MAX) != moment(rows[i].due))
            fail_msg("%s", rows[i].text);
        schedule_free(schedule);
    }
}

static void no_schedule_is_never_due(void **state)
{
    static const char *const texts[] = { NULL, "", "  " };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct schedule *schedule = parse(texts[i], NULL);

        assert_int_equal(schedule_next(schedule, 0), INT64_MAX);
        schedule_free(schedule);
    }
    struct schedule *daily = parse("@daily", "Europe/Berlin");

    assert_int_equal(schedule_next(daily, INT64_MAX), INT64_MAX);
    assert_true(schedule_next(daily, INT64_MIN) > INT64_MIN);
    schedule_free(daily);
}

static void unreadable_schedules_and_zones_are_refused(void **state)
{
    static const struct { const char *text, *zone; } rows[] = {
        { "whenever", NULL }, { "@reboot", NULL }, { "@", NULL }, { "* * * *", NULL }, { "* * * * * * *", NULL },
        { "60 * * * *", NULL }, { "* 24 * * *", NULL }, { "* * 0 * *", NULL }, { "* * 32 * *", NULL }, { "* * * 13 *", NULL },
        { "* * * * 8", NULL }, { "* * * * * 60", NULL }, { "*/0 * * * *", NULL }, { "*/x * * * *", NULL }, { "1- * * * *", NULL },
        { "-1 * * * *", NULL }, { "1,,2 * * * *", NULL }, { "1, * * * *", NULL }, { ", * * * *", NULL }, { "? * * * *", NULL },
        { "1-2-3 * * * *", NULL }, { "1/2/3 * * * *", NULL }, { "a * * * *", NULL }, { "* * * foo *", NULL },
        { "* * L5 * *", NULL }, { "* * * * 5#2", NULL }, { "* * * * L", NULL }, { "H * * * *", NULL }, { "0001 * * * *", NULL },
        { "0 0 30 2 *", NULL }, { "0 0 31 4,6,9,11 *", NULL },
        { "2026-02-30", NULL }, { "2026-13-01T00:00", NULL }, { "2026-11-24T24:00", NULL }, { "2026-11-24T", NULL },
        { "2026-11-24T05:59:60", NULL }, { "2026-11-24T05:59+25:00", NULL }, { "2026-11-24T05:59 x", NULL }, { "2026-1124", NULL },
        { "0000-01-01", NULL }, { "@daily", "Mars/Olympus" }, { "@daily", "../../../etc/passwd" }, { "@daily", "/etc/localtime" },
        { "@daily", "Europe" }, { "@daily", "Europe/" }, { "@daily", "Europe//Berlin" }, { "@daily", "Europe/../Europe/Berlin" },
        { "@daily", "zone.tab" }, { "@daily", "leapseconds" }, { "@daily", "europe berlin" }, { "@daily", "right/Europe/Berlin" },
        { "", "Nowhere" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct schedule *schedule = schedule_parse(rows[i].text, rows[i].zone, &err);

        if (schedule)
            fail_msg("'%s' in %s was taken", rows[i].text, rows[i].zone ? rows[i].zone : "UTC");
        assert_int_equal(err.class, ERR_INVALID);
        assert_true(err.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_is_the_first_time_strictly_after),
        cmocka_unit_test(daylight_saving_skips_nothing_and_doubles_nothing),
        cmocka_unit_test(next_always_ascends),
        cmocka_unit_test(one_time_schedules_give_their_time_whatever_the_clock_says),
        cmocka_unit_test(no_schedule_is_never_due),
        cmocka_unit_test(unreadable_schedules_and_zones_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
