/* The only place that knows all engines. */
#include "commands/backends.h"

#include "backend/docker/docker.h"

struct backend *backend_from_settings(const struct settings *settings, struct error *err)
{
    switch (settings->backend) {
    case BACKEND_DOCKER:
        return docker_backend_new(settings, err);
    case BACKEND_KUBERNETES:
    case BACKEND_KUBERNETES_OPERATOR:
        break;
    }
    error_set(err, ERR_INVALID, "this build runs terminals on Docker only: set TERMINALS_BACKEND=docker");
    return NULL;
}
