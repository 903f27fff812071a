/* A schedule is one moment or a cron expression; expressions live in local time, and only here meet the zone. */
#include "policy/schedule.h"

#include "base/str.h"
#include "policy/civil.h"
#include "policy/cron.h"
#include "policy/iso8601.h"
#include "policy/zone.h"

#define SECOND_US INT64_C(1000000)

enum schedule_kind { SCHEDULE_NEVER, SCHEDULE_ONCE, SCHEDULE_CRON };

struct schedule {
    enum schedule_kind kind;
    int64_t once_us;            /* wall, UTC */
    struct cron cron;
    struct zone *zone;          /* owned */
};

/* --- reading ------------------------------------------------------------------------------------------------- */

static const char *name_expression(struct str name)
{
    static const struct { const char *name, *expression; } names[] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" }, { "@weekly", "0 0 * * 0" },
        { "@daily", "0 0 * * *" }, { "@midnight", "0 0 * * *" }, { "@hourly", "0 * * * *" },
    };

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_equal_nocase(name, str_from(names[i].name)))
            return names[i].expression;
    return NULL;
}

static int read_once(struct schedule *schedule, const struct iso_time *time)
{
    int64_t seconds = time->local_us / SECOND_US - (time->local_us % SECOND_US < 0);
    int64_t rest = time->local_us - seconds * SECOND_US;
    int64_t utc = time->has_offset ? seconds - time->offset_s : zone_local_to_utc(schedule->zone, seconds);

    schedule->kind = SCHEDULE_ONCE;
    schedule->once_us = utc * SECOND_US + rest;
    return 0;
}

static bool has_blank(struct str text)
{
    return str_find_char(text, ' ') != SIZE_MAX || str_find_char(text, '\t') != SIZE_MAX;
}

static int read_text(struct schedule *schedule, struct str text, struct error *err)
{
    struct iso_time time;

    if (text.len == 0)
        return 0;
    if (iso_time_parse(text, &time))
        return read_once(schedule, &time);
    if (text.data[0] == '@') {
        const char *expression = name_expression(text);

        if (!expression)
            return error_set(err, ERR_INVALID, "Unknown schedule '%.*s'", STR_ARG(text));
        text = str_from(expression);
    } else if (!has_blank(text)) {
        return error_set(err, ERR_INVALID, "'%.*s' is neither a time, an @name nor a cron expression", STR_ARG(text));
    }
    schedule->kind = SCHEDULE_CRON;
    return cron_parse(text, &schedule->cron, err);
}

struct schedule *schedule_parse(const char *text, const char *timezone, struct error *err)
{
    struct schedule *schedule = xcalloc(1, sizeof(*schedule));

    schedule->zone = zone_load(timezone, err);
    if (schedule->zone && read_text(schedule, str_trim(str_from(text)), err) == 0)
        return schedule;
    schedule_free(schedule);
    return NULL;
}

void schedule_free(struct schedule *schedule)
{
    if (!schedule)
        return;
    zone_free(schedule->zone);
    free(schedule);
}

bool schedule_is_once(const struct schedule *schedule)
{
    return schedule->kind == SCHEDULE_ONCE;
}

/* --- reckoning ----------------------------------------------------------------------------------------------- */

/* Candidates ascend in local time, and so do their moments; those that the zone puts at or before `after_us` (a local time that
 * exists twice, seen again; one in a gap) are passed over. */
static int64_t next_by_cron(const struct schedule *schedule, int64_t after_us)
{
    int64_t after = after_us / SECOND_US - (after_us % SECOND_US < 0);
    int64_t local = after + zone_offset_at(schedule->zone, after);

    while (cron_find(&schedule->cron, local, &local)) {
        int64_t utc = zone_local_to_utc(schedule->zone, local);

        if (utc * SECOND_US > after_us)
            return utc * SECOND_US;
        local++;
    }
    return INT64_MAX;
}

int64_t schedule_next(const struct schedule *schedule, int64_t after_us)
{
    /* The years 1 to 9990: beyond them dates are no longer what they seem. */
    const int64_t first = civil_to_days(1, 1, 2) * DAY_SECONDS * SECOND_US;
    const int64_t last = civil_to_days(9990, 1, 1) * DAY_SECONDS * SECOND_US;

    switch (schedule->kind) {
    case SCHEDULE_ONCE:
        return schedule->once_us;
    case SCHEDULE_CRON:
        return after_us > last ? INT64_MAX : next_by_cron(schedule, after_us < first ? first : after_us);
    case SCHEDULE_NEVER:
        break;
    }
    return INT64_MAX;
}
