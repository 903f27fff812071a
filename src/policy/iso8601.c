/* Cuts one element after the other off the front; what is left at the end must be nothing. */
#include "policy/iso8601.h"

#include "policy/civil.h"

static bool take_digits(struct str *text, size_t count, int *number)
{
    uint64_t value;

    if (text->len < count || !str_to_u64(str_of(text->data, count), &value))
        return false;
    *text = str_skip(*text, count);
    *number = (int)value;
    return true;
}

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = str_skip(*text, 1);
    return true;
}

static bool take_date(struct str *text, struct civil *date)
{
    int year;
    bool extended;

    if (!take_digits(text, 4, &year))
        return false;
    extended = take_char(text, '-');
    if (!take_digits(text, 2, &date->month) || (extended && !take_char(text, '-')) || !take_digits(text, 2, &date->day))
        return false;
    date->year = year;
    return year >= 1 && date->month >= 1 && date->month <= 12 && date->day >= 1
        && date->day <= civil_days_in_month(year, date->month);
}

/* ".123" or ",123"; digits beyond the sixth are dropped. */
static bool take_fraction(struct str *text, int *us)
{
    size_t digits = 0;

    *us = 0;
    if (!take_char(text, '.') && !take_char(text, ','))
        return true;
    for (; text->len > 0 && text->data[0] >= '0' && text->data[0] <= '9'; digits++) {
        if (digits < 6)
            *us = *us * 10 + (text->data[0] - '0');
        *text = str_skip(*text, 1);
    }
    for (size_t i = digits; i < 6; i++)
        *us *= 10;
    return digits > 0;
}

/* "05:59[:21[.5]]" or "0559[21]". */
static bool take_time(struct str *text, struct civil *time, int *us)
{
    bool extended, has_seconds;

    *us = 0;
    if (!take_digits(text, 2, &time->hour))
        return false;
    extended = take_char(text, ':');
    if (!take_digits(text, 2, &time->minute))
        return false;
    has_seconds = extended ? take_char(text, ':') : text->len > 0 && text->data[0] >= '0' && text->data[0] <= '9';
    if (has_seconds && (!take_digits(text, 2, &time->second) || !take_fraction(text, us)))
        return false;
    return time->hour < 24 && time->minute < 60 && time->second < 60;
}

static bool take_offset(struct str *text, struct iso_time *time)
{
    bool negative;
    int hours, minutes = 0;

    if (text->len == 0)
        return true;
    time->has_offset = true;
    if (take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    negative = take_char(text, '-');
    if ((!negative && !take_char(text, '+')) || !take_digits(text, 2, &hours))
        return false;
    if (text->len > 0) {
        (void)take_char(text, ':');
        if (!take_digits(text, 2, &minutes))
            return false;
    }
    time->offset_s = (hours * 3600 + minutes * 60) * (negative ? -1 : 1);
    return hours < 24 && minutes < 60;
}

bool iso_time_parse(struct str text, struct iso_time *time)
{
    struct civil civil = { 0 };
    int us = 0;

    *time = (struct iso_time){ 0 };
    if (!take_date(&text, &civil))
        return false;
    if (text.len > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return false;
        if (!take_time(&text, &civil, &us) || !take_offset(&text, time))
            return false;
    }
    time->local_us = civil_to_seconds(&civil) * 1000000 + us;
    return text.len == 0;
}
