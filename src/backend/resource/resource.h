/* Terminals as Terminal resources, which `terminals operator` (ours or the original) turns into pods: the backend `kubernetes-operator`
 * (orchestrator.md §4.3, "Orchestrator side"). */
#ifndef BACKEND_RESOURCE_RESOURCE_H
#define BACKEND_RESOURCE_RESOURCE_H

#include "backend/backend.h"
#include "settings/settings.h"

/* Reads the kubeconfig, contacts nothing yet. `settings` must outlive it. ERR_NOT_FOUND or ERR_INVALID without a usable configuration. */
struct backend *resource_backend_new(const struct settings *settings, struct error *err) MUST_CHECK;

#endif
