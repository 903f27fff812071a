/* The rule that a zone follows after its last listed change: "CET-1CEST,M3.5.0,M10.5.0/3" (POSIX TZ with the extensions of
 * RFC 8536). Pure functions. Of use only inside this module. */
#ifndef POLICY_POSIX_ZONE_H
#define POLICY_POSIX_ZONE_H

#include "base/str.h"

enum change_kind { CHANGE_MONTH_WEEK, CHANGE_JULIAN, CHANGE_DAY_OF_YEAR };

/* The day of a year on which the clock changes, and at which local second of that day. */
struct zone_change {
    enum change_kind kind;
    int month, week, day;       /* `week` 5: the last; `day`: weekday, or the day of the year */
    int32_t time;
};

struct posix_zone {
    int32_t standard, daylight; /* seconds to add to UTC */
    bool has_daylight;
    struct zone_change start, end;      /* of daylight time */
};

bool posix_zone_parse(struct str text, struct posix_zone *zone);
int32_t posix_zone_offset_at(const struct posix_zone *zone, int64_t utc);

#endif
