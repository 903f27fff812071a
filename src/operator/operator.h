/* The controller of Terminal resources (orchestrator.md §4.3, "Operator side"): makes each resource's home, key, service and pod, keeps them as they
 * should be, and tells in the status how it stands.
 *
 * Lists and watches feed small records (record.h); what is to be done follows from a record alone (decide.h), and is done one step at a time
 * on the work queue (act.h). Of several replicas one leads, by a Lease (lease.h); the others only watch. Called by `terminals operator`. */
#ifndef OPERATOR_OPERATOR_H
#define OPERATOR_OPERATOR_H

#include "settings/settings.h"

struct operator;

/* Begins to listen, watch and, when its turn comes, to act; the API server need not answer yet. `settings` must outlive the result. NULL: no
 * kubeconfig, or the port of the health endpoints cannot be had. Main thread. */
struct operator *operator_start(const struct settings *settings, struct error *err) MUST_CHECK;
/* Ends what is under way, gives the lease back so that another replica goes on at once, frees. */
void operator_stop(struct operator *operator);

#endif
