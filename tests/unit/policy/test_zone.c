/* The reader of zone files and their rules (RFC 8536), on the places where readers go wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "policy/civil.h"
#include "policy/posix_zone.h"
#include "policy/zone.h"

static void rules_are_read_as_posix_writes_them(void **state)
{
    static const struct { const char *text; bool good; int32_t january, july; } rows[] = {
        { "CET-1CEST,M3.5.0,M10.5.0/3", true, 3600, 7200 },
        { "EST5EDT,M3.2.0,M11.1.0", true, -18000, -14400 },
        { "AEST-10AEDT,M10.1.0,M4.1.0/3", true, 39600, 36000 },
        { "<+0330>-3:30", true, 12600, 12600 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, -7200, -3600 },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", true, 0, 3600 },
        { "XXX3EDT4,0/0,J365/23", true, -14400, -14400 },
        { "UTC0", true, 0, 0 },
        { "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", true, 39600, 37800 },
        { "", false, 0, 0 }, { "CE-1", false, 0, 0 }, { "CET", false, 0, 0 }, { "CET-1CEST", false, 0, 0 },
        { "CET-1CEST,M3.5.0", false, 0, 0 }, { "CET-1CEST,M13.5.0,M10.5.0", false, 0, 0 },
        { "CET-1CEST,M3.6.0,M10.5.0", false, 0, 0 }, { "CET-1CEST,M3.5.7,M10.5.0", false, 0, 0 },
        { "CET-1CEST,J0,J10", false, 0, 0 }, { "CET-25", false, 0, 0 }, { "CET-1x", false, 0, 0 }, { "<>1", false, 0, 0 },
        { "CET-1CEST,M3.5.0,M10.5.0/3x", false, 0, 0 },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct posix_zone zone;
        bool good = posix_zone_parse(str_from(rows[i].text), &zone);

        if (good != rows[i].good)
            fail_msg("'%s'", rows[i].text);
        if (good && (posix_zone_offset_at(&zone, civil_to_days(2030, 1, 15) * DAY_SECONDS) != rows[i].january
                     || posix_zone_offset_at(&zone, civil_to_days(2030, 7, 15) * DAY_SECONDS) != rows[i].july))
            fail_msg("'%s' has other offsets", rows[i].text);
    }
}

static void dates_go_there_and_back(void **state)
{
    for (int64_t days = civil_to_days(-5, 1, 1); days < civil_to_days(2405, 1, 1); days++) {
        struct civil civil = civil_from_seconds(days * DAY_SECONDS + 86399);

        assert_int_equal(civil_to_seconds(&civil), days * DAY_SECONDS + 86399);
        assert_in_range(civil.day, 1, civil_days_in_month(civil.year, civil.month));
    }
    assert_int_equal(civil_weekday(civil_to_days(2026, 11, 24)), 2);
    assert_int_equal(civil_days_in_month(2000, 2), 29);
    assert_int_equal(civil_days_in_month(2100, 2), 28);
}

static void local_times_go_there_and_back(void **state)
{
    struct error err;
    struct zone *zone = zone_load("Europe/Berlin", &err);

    assert_non_null(zone);
    for (int64_t utc = civil_to_days(1900, 1, 1) * DAY_SECONDS; utc < civil_to_days(2060, 1, 1) * DAY_SECONDS; utc += 100003) {
        int64_t local = utc + zone_offset_at(zone, utc);
        int64_t back = zone_local_to_utc(zone, local);

        /* The same moment, or the first of two with that local time. */
        if (back != utc && (back > utc || back + zone_offset_at(zone, back) != local))
            fail_msg("%lld", (long long)utc);
    }
    zone_free(zone);
}

static void broken_files_are_refused(void **state)
{
    static char file[44 + 6 + 4];
    struct str whole = { file, sizeof(file) };
    struct zone *zone;

    memcpy(file, "TZif", 4);
    file[39] = 1;                       /* one type */
    file[43] = 4;                       /* of four characters */
    zone = zone_parse(whole);
    assert_non_null(zone);
    zone_free(zone);
    for (size_t len = 0; len < whole.len; len++)
        assert_null(zone_parse(str_of(file, len)));
    file[35] = 1;                       /* a change that is not there */
    assert_null(zone_parse(whole));
    memset(file + 20, 0xff, 24);        /* counts beyond all bounds */
    assert_null(zone_parse(whole));
    file[4] = '2';
    assert_null(zone_parse(whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_read_as_posix_writes_them),
        cmocka_unit_test(dates_go_there_and_back),
        cmocka_unit_test(local_times_go_there_and_back),
        cmocka_unit_test(broken_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
