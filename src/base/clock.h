/* Time. Deadlines and intervals use the monotonic clock; what people see or the database keeps uses wall time.
 * Unit tests replace both with clock_fake_set(). Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <time.h>

#include "base/defs.h"

/* Milliseconds on the monotonic clock, from an arbitrary start; never 0. */
int64_t clock_monotonic_ms(void);
/* Microseconds on the monotonic clock, for durations in logs and metrics. */
int64_t clock_monotonic_us(void);
/* Microseconds since 1970 UTC. */
int64_t clock_wall_us(void);

/* `ms` from now on the real monotonic clock, for pthread_cond_timedwait() on a condition of that clock. Less than 0 counts as 0. */
struct timespec clock_deadline(int64_t ms);

/* From now on both clocks stand still at these values, until set again; a negative value returns to real time.
 * Unit tests only. */
void clock_fake_set(int64_t monotonic_us, int64_t wall_us);

/* "2026-11-24T05:59:21.123456Z" into `out` (at least 28 bytes). */
void clock_format_iso(int64_t wall_us, char out[static 28]);
/* Reads what clock_format_iso() writes, also without the fraction, with ' ' for 'T', and with an offset such as
 * "+00:00"; without any offset it is UTC. */
bool clock_parse_iso(const char *text, int64_t *wall_us);

#endif
