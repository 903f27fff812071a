/* Years are counted from March, so that the leap day comes last and months follow one formula; 400 years (an era) have always
 * the same number of days. */
#include "policy/civil.h"

#define ERA_YEARS 400
#define ERA_DAYS 146097
/* From 0000-03-01 to 1970-01-01. */
#define EPOCH_DAYS 719468

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

int64_t civil_to_days(int64_t year, int month, int day)
{
    int64_t from_march = month > 2 ? month - 3 : month + 9;
    int64_t y = year - (month <= 2);
    int64_t era = floor_divide(y, ERA_YEARS), of_era = y - era * ERA_YEARS;
    int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;

    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - EPOCH_DAYS;
}

int64_t civil_to_seconds(const struct civil *civil)
{
    return civil_to_days(civil->year, civil->month, civil->day) * DAY_SECONDS + civil->hour * 3600 + civil->minute * 60
        + civil->second;
}

struct civil civil_from_seconds(int64_t seconds)
{
    int64_t days = floor_divide(seconds, DAY_SECONDS), in_day = seconds - days * DAY_SECONDS;
    int64_t shifted = days + EPOCH_DAYS, era = floor_divide(shifted, ERA_DAYS), day_of_era = shifted - era * ERA_DAYS;
    /* Leap days are taken out first: one in 4 years, none in 100, one in 400. */
    int64_t of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);

    return (struct civil){
        .year = era * ERA_YEARS + of_era + (month <= 2),
        .month = month,
        .day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1),
        .hour = (int)(in_day / 3600),
        .minute = (int)(in_day / 60 % 60),
        .second = (int)(in_day % 60),
    };
}

int civil_days_in_month(int64_t year, int month)
{
    return (int)(civil_to_days(month == 12 ? year + 1 : year, month == 12 ? 1 : month + 1, 1) - civil_to_days(year, month, 1));
}

int civil_weekday(int64_t days)
{
    /* 1970-01-01 was a Thursday. */
    return (int)(((days + 4) % 7 + 7) % 7);
}
