/* Dates and times as ISO 8601 writes them. Pure functions. Of use only inside this module. */
#ifndef POLICY_ISO8601_H
#define POLICY_ISO8601_H

#include "base/str.h"

struct iso_time {
    int64_t local_us;           /* microseconds since 1970 as read, before any offset */
    bool has_offset;
    int32_t offset_s;           /* to subtract; 0 for "Z" */
};

/* "2026-11-24", "2026-11-24T05:59[:21[.123]]", with ' ' for 'T', the same without '-' and ':', and "Z", "+01", "+0100" or
 * "+01:00" after a time. False on anything else. */
bool iso_time_parse(struct str text, struct iso_time *time);

#endif
