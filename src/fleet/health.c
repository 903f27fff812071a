/* Probes of terminals: those that start, until they answer, and those that are ready but suspected by a gateway worker. */
#include "fleet/internal.h"

#include "base/log.h"

static struct str id_bytes(const uint64_t *id)
{
    return str_of((const char *)id, sizeof *id);
}

void health_begin_probe(struct fleet *fleet, struct terminal *terminal, int64_t give_up_ms)
{
    if (terminal->probe != 0)
        return;
    terminal->probe = prober_add(fleet->prober, terminal->observed.endpoint, give_up_ms);
    (void)map_put(&fleet->by_probe, id_bytes(&terminal->probe), terminal);
}

void health_cancel_probe(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->probe == 0)
        return;
    prober_cancel(fleet->prober, terminal->probe);
    (void)map_remove(&fleet->by_probe, id_bytes(&terminal->probe));
    terminal->probe = 0;
}

/* A probe that was cancelled while its report was on the way is not in the table any more. */
void health_report(void *context, uint64_t id, enum probe_result result)
{
    struct fleet *fleet = context;
    WITH_LOCK(fleet);
    struct terminal *terminal = map_remove(&fleet->by_probe, id_bytes(&id));
    if (!terminal || fleet->stopping)
        return;
    terminal->probe = 0;
    terminal->healthy = terminal->healthy || result == PROBE_HEALTHY;
    terminal->refuses = result == PROBE_REFUSED && (terminal->phase == TERMINAL_READY || terminal->phase == TERMINAL_STARTING);
    if (result == PROBE_UNREACHABLE || result == PROBE_SILENT)
        log_warning("terminal does not answer, but its guest runs: left alone", LOG_STR("terminal", terminal->name));
    reconcile_soon(fleet, terminal);
}

/* The engine first: another guest may answer at the address by now. */
void fleet_suspect(struct fleet *fleet, struct route *route)
{
    WITH_LOCK(fleet);
    struct terminal *terminal = table_find(fleet, route->key);
    /* Without an address the engine has just told that the guest is gone, which the next look at the terminal will find. */
    bool may_be_asked = terminal && terminal->phase == TERMINAL_READY && terminal->route == route && terminal->observed.endpoint;
    if (!may_be_asked || terminal->probe != 0 || terminal->look_again || fleet->stopping)
        return;
    terminal->look_again = true;
    reconcile_soon(fleet, terminal);
}
