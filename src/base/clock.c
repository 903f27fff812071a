#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic int64_t fake_monotonic_us = -1, fake_wall_us = -1;

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    int64_t fake = atomic_load_explicit(&fake_monotonic_us, memory_order_relaxed);
    return fake >= 0 ? fake : read_clock(CLOCK_MONOTONIC) + 1000;
}

int64_t clock_monotonic_ms(void) { return clock_monotonic_us() / 1000; }

int64_t clock_wall_us(void)
{
    int64_t fake = atomic_load_explicit(&fake_wall_us, memory_order_relaxed);
    return fake >= 0 ? fake : read_clock(CLOCK_REALTIME);
}

struct timespec clock_deadline(int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (ms <= 0)
        return until;
    int64_t nanos = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + nanos / 1000000000;
    until.tv_nsec = nanos % 1000000000;
    return until;
}

void clock_fake_set(int64_t monotonic_us, int64_t wall_us)
{
    atomic_store(&fake_monotonic_us, monotonic_us);
    atomic_store(&fake_wall_us, wall_us);
}

void clock_format_iso(int64_t wall_us, char out[static 28])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    int64_t micros = wall_us % 1000000;
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(out, 28, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + len, 28 - len, ".%06dZ", (int)micros);
}

/* `count` decimal digits at `*text`, which moves past them. */
static bool read_digits(const char **text, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *value = *value * 10 + (**text - '0');
    }
    return true;
}

static bool read_fraction(const char **text, int64_t *micros)
{
    *micros = 0;
    if (**text != '.' && **text != ',')
        return true;
    (*text)++;
    int64_t scale = 100000;
    const char *first = *text;
    for (; **text >= '0' && **text <= '9'; (*text)++, scale /= 10)
        *micros += (**text - '0') * scale;
    return *text > first;
}

static bool read_offset(const char **text, int64_t *seconds)
{
    *seconds = 0;
    if (**text == '\0')
        return true;
    if (**text == 'Z' || **text == 'z') {
        (*text)++;
        return true;
    }
    int sign = **text == '+' ? 1 : **text == '-' ? -1 : 0;
    int hours, minutes = 0;
    if (sign == 0)
        return false;
    (*text)++;
    if (!read_digits(text, 2, &hours))
        return false;
    if (**text == ':')
        (*text)++;
    if (**text && !read_digits(text, 2, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

bool clock_parse_iso(const char *text, int64_t *wall_us)
{
    int year, month, day, hour = 0, minute = 0, second = 0;
    int64_t micros = 0, offset = 0;
    if (!read_digits(&text, 4, &year) || *text++ != '-' || !read_digits(&text, 2, &month) || *text++ != '-' ||
        !read_digits(&text, 2, &day))
        return false;
    if (*text == 'T' || *text == 't' || *text == ' ') {
        text++;
        if (!read_digits(&text, 2, &hour) || *text++ != ':' || !read_digits(&text, 2, &minute))
            return false;
        if (*text == ':' && (text++, !read_digits(&text, 2, &second)))
            return false;
        if (!read_fraction(&text, &micros) || !read_offset(&text, &offset))
            return false;
    }
    if (*text || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    struct tm utc = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day,
                      .tm_hour = hour, .tm_min = minute, .tm_sec = second };
    time_t seconds = timegm(&utc);
    if (utc.tm_mday != day && second != 60)
        return false;
    *wall_us = ((int64_t)seconds - offset) * 1000000 + micros;
    return true;
}
