/* Terminals as pods, made directly by us: the backend `kubernetes` (orchestrator.md §4.2). Any number of orchestrators may work on one namespace: what
 * is there is known from list and watch, names follow from keys, and every deletion names the very object that it means. */
#ifndef BACKEND_KUBERNETES_KUBERNETES_H
#define BACKEND_KUBERNETES_KUBERNETES_H

#include "backend/backend.h"
#include "settings/settings.h"

/* Reads the kubeconfig or the pod's service account, contacts nothing yet. `settings` must outlive the backend. NULL with ERR_NOT_FOUND or
 * ERR_INVALID when there is no usable configuration. Freed by its ops->free(), after watch() has returned. */
struct backend *kubernetes_backend_new(const struct settings *settings, struct error *err) MUST_CHECK;

#endif
