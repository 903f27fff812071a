/* Dates of the Gregorian calendar as seconds since 1970, without any time zone. Pure functions. Of use only inside
 * this module. */
#ifndef POLICY_CIVIL_H
#define POLICY_CIVIL_H

#include "base/defs.h"

#define DAY_SECONDS 86400

struct civil {
    int64_t year;
    int month, day;             /* from 1 */
    int hour, minute, second;
};

/* Days since 1970-01-01; negative before. */
int64_t civil_to_days(int64_t year, int month, int day);
int64_t civil_to_seconds(const struct civil *civil);
struct civil civil_from_seconds(int64_t seconds);
int civil_days_in_month(int64_t year, int month);
/* 0 is Sunday. */
int civil_weekday(int64_t days);

#endif
