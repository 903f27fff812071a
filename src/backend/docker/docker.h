/* The Docker Engine as a backend (orchestrator.md §4.1). */
#ifndef BACKEND_DOCKER_DOCKER_H
#define BACKEND_DOCKER_DOCKER_H

#include "backend/backend.h"
#include "settings/settings.h"

/* Finds the engine as docker clients do; contacts nothing yet. ERR_INVALID for a DOCKER_HOST that does not parse. `settings` must outlive it. */
struct backend *docker_backend_new(const struct settings *settings, struct error *err) MUST_CHECK;

#endif
