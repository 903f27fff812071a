/* The only place that knows all engines. */
#include "commands/backends.h"

#include "backend/docker/docker.h"
#include "backend/kubernetes/kubernetes.h"
#include "backend/resource/resource.h"

struct backend *backend_from_settings(const struct settings *settings, struct error *err)
{
    switch (settings->backend) {
    case BACKEND_DOCKER:
        return docker_backend_new(settings, err);
    case BACKEND_KUBERNETES:
        return kubernetes_backend_new(settings, err);
    case BACKEND_KUBERNETES_OPERATOR:
        return resource_backend_new(settings, err);
    }
    error_set(err, ERR_INVALID, "TERMINALS_BACKEND names no engine");
    return NULL;
}
