/* When a reset is due: a time once, an @name, or a cron expression, in a time zone (orchestrator.md §3.5).
 * Pure functions over the system's zone files; any thread. */
#ifndef POLICY_SCHEDULE_H
#define POLICY_SCHEDULE_H

#include "base/error.h"

struct schedule;

/* `text`: ISO-8601, @yearly @annually @monthly @weekly @daily @midnight @hourly, five- or six-field cron (the sixth and
 * last field is seconds). `timezone` NULL or "" is UTC. ERR_INVALID says what
 * is wrong. NULL text or "" gives a schedule that is never due. */
struct schedule *schedule_parse(const char *text, const char *timezone, struct error *err) MUST_CHECK;
void schedule_free(struct schedule *schedule);
/* The first time strictly after `after_us` (wall, UTC), or INT64_MAX when there is none. A one-time schedule gives its
 * time whatever `after_us` is. Daylight saving: a local time that does not exist is taken at the end of the gap, one
 * that exists twice is due once. */
int64_t schedule_next(const struct schedule *schedule, int64_t after_us);
bool schedule_is_once(const struct schedule *schedule);

#endif
