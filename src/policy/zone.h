/* Time zones, read from the system's compiled files (TZif, RFC 8536) without touching the process's own zone: tzset() and TZ are
 * shared by all threads, these objects are not. Immutable once loaded. Of use only inside this module. */
#ifndef POLICY_ZONE_H
#define POLICY_ZONE_H

#include "base/error.h"
#include "base/str.h"

struct zone;

/* NULL, "" and "UTC" need no file. ERR_INVALID for a name that is not a zone. */
struct zone *zone_load(const char *name, struct error *err) MUST_CHECK;
/* From the contents of a file; NULL when they are not a TZif file that we understand. */
struct zone *zone_parse(struct str data) MUST_CHECK;
void zone_free(struct zone *zone);

/* Seconds to add to UTC at that moment. */
int32_t zone_offset_at(const struct zone *zone, int64_t utc);
/* UTC of a local time. In a gap: the gap's end; what exists twice: the first. */
int64_t zone_local_to_utc(const struct zone *zone, int64_t local);

#endif
