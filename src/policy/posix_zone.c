/* A small recursive descent over the text: each take_ function cuts what it reads off the front. */
#include "policy/posix_zone.h"

#include "policy/civil.h"

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = str_skip(*text, 1);
    return true;
}

static bool take_number(struct str *text, int max, int *number)
{
    size_t at = 0;
    int value = 0;

    for (; at < text->len && at < 4 && text->data[at] >= '0' && text->data[at] <= '9'; at++)
        value = value * 10 + (text->data[at] - '0');
    *text = str_skip(*text, at);
    *number = value;
    return at > 0 && value <= max;
}

/* Three letters or more, or anything between angle brackets. */
static bool take_name(struct str *text)
{
    size_t at = 0;

    if (take_char(text, '<')) {
        size_t end = str_find_char(*text, '>');

        if (end == SIZE_MAX || end == 0)
            return false;
        *text = str_skip(*text, end + 1);
        return true;
    }
    while (at < text->len && ((text->data[at] | 0x20) >= 'a' && (text->data[at] | 0x20) <= 'z'))
        at++;
    *text = str_skip(*text, at);
    return at >= 3;
}

/* "[+-]h[:m[:s]]" as seconds. */
static bool take_time(struct str *text, int max_hours, int32_t *seconds)
{
    bool negative = take_char(text, '-');
    int hours, minutes = 0, rest = 0;

    if (!negative)
        (void)take_char(text, '+');
    if (!take_number(text, max_hours, &hours))
        return false;
    if (take_char(text, ':') && !take_number(text, 59, &minutes))
        return false;
    if (take_char(text, ':') && !take_number(text, 59, &rest))
        return false;
    *seconds = hours * 3600 + minutes * 60 + rest;
    if (negative)
        *seconds = -*seconds;
    return true;
}

static bool take_day(struct str *text, struct zone_change *change)
{
    if (take_char(text, 'M')) {
        change->kind = CHANGE_MONTH_WEEK;
        return take_number(text, 12, &change->month) && change->month >= 1 && take_char(text, '.')
            && take_number(text, 5, &change->week) && change->week >= 1 && take_char(text, '.')
            && take_number(text, 6, &change->day);
    }
    if (take_char(text, 'J')) {
        change->kind = CHANGE_JULIAN;
        return take_number(text, 365, &change->day) && change->day >= 1;
    }
    change->kind = CHANGE_DAY_OF_YEAR;
    return take_number(text, 365, &change->day);
}

static bool take_change(struct str *text, struct zone_change *change)
{
    change->time = 2 * 3600;
    if (!take_char(text, ',') || !take_day(text, change))
        return false;
    return !take_char(text, '/') || take_time(text, 167, &change->time);
}

bool posix_zone_parse(struct str text, struct posix_zone *zone)
{
    int32_t west;

    *zone = (struct posix_zone){ 0 };
    if (!take_name(&text) || !take_time(&text, 24, &west))
        return false;
    zone->standard = -west;
    if (text.len == 0)
        return true;
    zone->has_daylight = true;
    zone->daylight = zone->standard + 3600;
    if (!take_name(&text))
        return false;
    if (text.len > 0 && text.data[0] != ',') {
        if (!take_time(&text, 24, &west))
            return false;
        zone->daylight = -west;
    }
    return take_change(&text, &zone->start) && take_change(&text, &zone->end) && text.len == 0;
}

/* Days since 1970 on which the change falls in `year`. */
static int64_t change_day(const struct zone_change *change, int64_t year)
{
    int64_t first = civil_to_days(year, change->kind == CHANGE_MONTH_WEEK ? change->month : 1, 1);
    int64_t day;

    switch (change->kind) {
    case CHANGE_DAY_OF_YEAR:
        return first + change->day;
    case CHANGE_JULIAN:
        /* 29 February is never counted. */
        return first + change->day - 1 + (change->day >= 60 && civil_days_in_month(year, 2) == 29);
    case CHANGE_MONTH_WEEK:
        break;
    }
    day = (change->day - civil_weekday(first) + 7) % 7 + 7 * (change->week - 1);
    return first + (day >= civil_days_in_month(year, change->month) ? day - 7 : day);
}

int32_t posix_zone_offset_at(const struct posix_zone *zone, int64_t utc)
{
    int64_t year, start, end;
    bool is_daylight;

    if (!zone->has_daylight)
        return zone->standard;
    year = civil_from_seconds(utc + zone->standard).year;
    start = change_day(&zone->start, year) * DAY_SECONDS + zone->start.time - zone->standard;
    end = change_day(&zone->end, year) * DAY_SECONDS + zone->end.time - zone->daylight;
    /* South of the equator daylight time spans the new year. */
    is_daylight = start < end ? utc >= start && utc < end : utc >= start || utc < end;
    return is_daylight ? zone->daylight : zone->standard;
}
