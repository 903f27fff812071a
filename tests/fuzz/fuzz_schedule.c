/* Schedules in a few zones: the input is a byte that chooses the zone, then the text. The next time is after the one before. */
#include "fuzz.h"
#include "policy/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const zones[] = { "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe" };
    struct str message;
    const char *zone = zones[fuzz_choice(data, size, &message) % COUNT_OF(zones)];
    cleanup_free char *text = str_dup(message);
    struct error err = { 0 };
    struct schedule *schedule = schedule_parse(text, zone, &err);
    int64_t at = 1774656000000000;      /* shortly before a change to daylight time */

    if (!schedule) {
        ASSERT(err.class == ERR_INVALID && err.text[0]);
        return 0;
    }
    for (int i = 0; i < 5 && !schedule_is_once(schedule); i++) {
        int64_t due = schedule_next(schedule, at);

        ASSERT(due > at);
        if (due == INT64_MAX)
            break;
        at = due;
    }
    schedule_free(schedule);
    return 0;
}
