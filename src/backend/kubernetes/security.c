/* Security contexts: defaults of restricted mode ← the settings' JSON ← the policy's, which may be spelt in two ways. */
#include "backend/kubernetes/parts.h"

#include "kubernetes/pod.h"

static json_t *of_policy(const json_t *policy, const char *camel, const char *snake)
{
    return kube_merged(json_object_get(policy, camel), json_object_get(policy, snake));
}

json_t *pod_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    cleanup_json json_t *own = of_policy(policy, "podSecurityContext", "pod_security_context");

    return kube_pod_security(restricted, settings->kubernetes_pod_security_context, own);
}

json_t *container_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    cleanup_json json_t *own = of_policy(policy, "containerSecurityContext", "container_security_context");

    return kube_container_security(restricted, settings->kubernetes_container_security_context, own);
}
