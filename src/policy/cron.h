/* Cron expressions in local time, which here is a plain count of seconds. Pure functions. Of use only inside this module.
 *
 * Five fields, minute hour day month weekday, or six with the second last. Values, names (jan, mon), ranges (also across the
 * end: fri-mon), lists, steps, `*`, `?` for day and weekday, `L` for the last day of the month. When both day and weekday
 * are restricted, either is enough. */
#ifndef POLICY_CRON_H
#define POLICY_CRON_H

#include "base/error.h"
#include "base/str.h"

/* Bit n stands for the value n. */
struct cron {
    uint64_t seconds, minutes, hours, days, months, weekdays;
    bool last_day;
    bool either_day;            /* a day that fits one of `days` and `weekdays` is enough */
};

/* ERR_INVALID says which field and what is wrong; also for expressions that are never due, such as 30 February. */
int cron_parse(struct str text, struct cron *cron, struct error *err) MUST_CHECK;
/* The first matching second at or after `from`; false when there is none in the next years. */
bool cron_find(const struct cron *cron, int64_t from, int64_t *found);

#endif
