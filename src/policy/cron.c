/* Each field is a set of bits. Searching goes from the coarse to the fine: the day, then the time in it. */
#include "policy/cron.h"

#include "policy/civil.h"

/* A leap day may be 8 years away. */
#define SEARCH_DAYS (366 * 9)

enum { FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, FIELD_SECOND, FIELD_COUNT };

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static const struct field {
    const char *name;
    int min, max;               /* what `*` spans */
    int highest;                /* what may be written: 7 is Sunday too */
    const char *const *words;   /* the word at 0 stands for `min` */
    int word_count;
} fields[FIELD_COUNT] = {
    [FIELD_MINUTE] = { "minute", 0, 59, 59, NULL, 0 },
    [FIELD_HOUR] = { "hour", 0, 23, 23, NULL, 0 },
    [FIELD_DAY] = { "day", 1, 31, 31, NULL, 0 },
    [FIELD_MONTH] = { "month", 1, 12, 12, month_names, 12 },
    [FIELD_WEEKDAY] = { "weekday", 0, 6, 7, weekday_names, 7 },
    [FIELD_SECOND] = { "second", 0, 59, 59, NULL, 0 },
};

static int refuse(const struct field *field, struct str part, struct error *err)
{
    return error_set(err, ERR_INVALID, "Invalid %s '%.*s' in cron expression", field->name, STR_ARG(part));
}

/* --- parsing ------------------------------------------------------------------------------------------------- */

static bool read_value(const struct field *field, struct str text, int *value)
{
    uint64_t number;

    for (int i = 0; i < field->word_count; i++) {
        if (str_equal_nocase(text, str_from(field->words[i]))) {
            *value = field->min + i;
            return true;
        }
    }
    if (text.len > 2 || !str_to_u64(text, &number) || number < (uint64_t)field->min || number > (uint64_t)field->highest)
        return false;
    *value = (int)number;
    return true;
}

/* `*`, a value or "low-high"; `*is_single` for a value alone. */
static bool read_range(const struct field *field, struct str text, int *low, int *high, bool *is_single)
{
    size_t hyphen = str_find_char(text, '-');
    bool takes_question_mark = field == &fields[FIELD_DAY] || field == &fields[FIELD_WEEKDAY];

    *is_single = false;
    if (str_equal_text(text, "*") || (takes_question_mark && str_equal_text(text, "?"))) {
        *low = field->min;
        *high = field->max;
        return true;
    }
    if (hyphen != SIZE_MAX)
        return read_value(field, str_of(text.data, hyphen), low) && read_value(field, str_skip(text, hyphen + 1), high);
    *is_single = true;
    *high = field->max;
    return read_value(field, text, low);
}

static bool read_step(struct str text, int *step)
{
    uint64_t number;

    if (!str_to_u64(text, &number) || number == 0 || number > 60)
        return false;
    *step = (int)number;
    return true;
}

static void set_range(const struct field *field, int low, int high, int step, uint64_t *set)
{
    int size = field->max - field->min + 1;
    int span = low <= high ? high - low : high - low + size;

    for (int i = 0; i <= span; i += step)
        *set |= 1ULL << (field->min + (low - field->min + i) % size);
}

static int read_part(const struct field *field, struct str part, uint64_t *set, struct error *err)
{
    size_t slash = str_find_char(part, '/');
    struct str range = slash == SIZE_MAX ? part : str_of(part.data, slash);
    int low, high, step = 1;
    bool is_single;

    if (!read_range(field, range, &low, &high, &is_single))
        return refuse(field, part, err);
    if (slash != SIZE_MAX && !read_step(str_skip(part, slash + 1), &step))
        return refuse(field, part, err);
    /* "5/15" goes on to the end, "5" does not. */
    if (is_single && slash == SIZE_MAX)
        high = low;
    set_range(field, low, high < low && is_single ? low : high, step, set);
    return 0;
}

static int read_field(const struct field *field, struct str text, uint64_t *set, bool *last_day, struct error *err)
{
    struct str rest = text, part;

    while (str_next_part(&rest, ',', &part)) {
        if (field == &fields[FIELD_DAY] && str_equal_nocase(part, STR_LITERAL("L")))
            *last_day = true;
        else if (read_part(field, part, set, err) < 0)
            return -1;
    }
    return 0;
}

/* Splits at blanks; SIZE_MAX when there are more than `max`. */
static size_t split_fields(struct str text, struct str *parts, size_t max)
{
    size_t count = 0, at = 0;

    while (at < text.len) {
        size_t begin;

        while (at < text.len && (text.data[at] == ' ' || text.data[at] == '\t'))
            at++;
        begin = at;
        while (at < text.len && text.data[at] != ' ' && text.data[at] != '\t')
            at++;
        if (at == begin)
            break;
        if (count == max)
            return SIZE_MAX;
        parts[count++] = str_of(text.data + begin, at - begin);
    }
    return count;
}

/* Only the star itself restricts nothing: "1-31" and a star with a step are a choice, as in the original's library. */
static bool is_any(struct str text)
{
    return str_equal_text(text, "*") || str_equal_text(text, "?");
}

int cron_parse(struct str text, struct cron *cron, struct error *err)
{
    uint64_t *const sets[FIELD_COUNT] = {
        &cron->minutes, &cron->hours, &cron->days, &cron->months, &cron->weekdays, &cron->seconds
    };
    struct str parts[FIELD_COUNT];
    size_t count = split_fields(text, parts, FIELD_COUNT);
    int64_t found;

    *cron = (struct cron){ .seconds = 1 };
    if (count != FIELD_COUNT && count != FIELD_COUNT - 1)
        return error_set(err, ERR_INVALID, "A cron expression has five or six fields");
    if (count == FIELD_COUNT)
        cron->seconds = 0;
    for (size_t i = 0; i < count; i++)
        if (read_field(&fields[i], parts[i], sets[i], &cron->last_day, err) < 0)
            return -1;
    cron->either_day = !is_any(parts[FIELD_DAY]) && !is_any(parts[FIELD_WEEKDAY]);
    /* From a leap year on, every possible date comes within the search. */
    if (!cron_find(cron, civil_to_days(2000, 1, 1) * DAY_SECONDS, &found))
        return error_set(err, ERR_INVALID, "The cron expression names a date that does not exist");
    return 0;
}

/* --- searching ----------------------------------------------------------------------------------------------- */

static bool has(uint64_t set, int value)
{
    return set >> value & 1;
}

/* The lowest value of the set at or above `from`, or -1. */
static int next_in(uint64_t set, int from)
{
    uint64_t above = from < 64 ? set >> from << from : 0;

    return above ? __builtin_ctzll(above) : -1;
}

static bool day_matches(const struct cron *cron, int64_t days)
{
    struct civil date = civil_from_seconds(days * DAY_SECONDS);
    bool day = has(cron->days, date.day)
        || (cron->last_day && date.day == civil_days_in_month(date.year, date.month));
    bool weekday = has(cron->weekdays, civil_weekday(days));

    if (!has(cron->months, date.month))
        return false;
    return cron->either_day ? day || weekday : day && weekday;
}

/* The first matching second of a day at or after the time of `at`; false when the day has no more. */
static bool find_time(const struct cron *cron, const struct civil *at, int64_t *in_day)
{
    int hour = next_in(cron->hours, at->hour), minute, second;

    for (; hour >= 0; hour = next_in(cron->hours, hour + 1)) {
        bool same_hour = hour == at->hour;

        minute = next_in(cron->minutes, same_hour ? at->minute : 0);
        for (; minute >= 0; minute = next_in(cron->minutes, minute + 1)) {
            second = next_in(cron->seconds, same_hour && minute == at->minute ? at->second : 0);
            if (second >= 0) {
                *in_day = hour * 3600 + minute * 60 + second;
                return true;
            }
        }
    }
    return false;
}

bool cron_find(const struct cron *cron, int64_t from, int64_t *found)
{
    struct civil at = civil_from_seconds(from);
    int64_t first = civil_to_days(at.year, at.month, at.day), in_day;

    for (int64_t days = first; days < first + SEARCH_DAYS; days++) {
        if (day_matches(cron, days) && find_time(cron, &at, &in_day)) {
            *found = days * DAY_SECONDS + in_day;
            return true;
        }
        at.hour = at.minute = at.second = 0;
    }
    return false;
}
