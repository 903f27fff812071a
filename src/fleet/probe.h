/* Finds out when a guest listens: GET /health on its endpoint again and again until it answers 200.
 *
 * One thread drives all probes over non-blocking sockets. A refused connection costs next to nothing, so a young guest is
 * asked every few milliseconds, and one that installs packages for minutes less and less often. */
#ifndef FLEET_PROBE_H
#define FLEET_PROBE_H

#include "backend/backend.h"

enum probe_result {
    PROBE_HEALTHY,          /* it answered 200 */
    PROBE_REFUSED,          /* gave up: the host is there, nothing listens */
    PROBE_UNREACHABLE,      /* gave up: no connection came about */
    PROBE_SILENT,           /* gave up: it takes connections and does not answer 200 */
};

/* Called once for each probe that was not cancelled, on the prober's thread, with no lock held. */
typedef void probe_report_fn(void *context, uint64_t id, enum probe_result result);

struct prober;

struct prober *prober_new(probe_report_fn *report, void *context) MUST_CHECK;
/* Begins to ask; the endpoint is copied. `give_up_ms` is how long to try, 0 = until cancelled. The id is never 0. Any thread,
 * does not block. */
uint64_t prober_add(struct prober *prober, const struct endpoint *endpoint, int64_t give_up_ms) MUST_CHECK;
/* Any thread, does not block. A report may still come when it was on its way. */
void prober_cancel(struct prober *prober, uint64_t id);
/* Ends the thread; no report comes afterwards. */
void prober_free(struct prober *prober);

/* How long to wait before the next try when the first was `elapsed_ms` ago. */
int64_t probe_retry_delay_ms(int64_t elapsed_ms);

#endif
