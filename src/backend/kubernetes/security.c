/* Security contexts: defaults of restricted mode ← the settings' JSON ← the policy's. */
#include "backend/kubernetes/parts.h"

#include "kubernetes/pod.h"

json_t *pod_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    cleanup_json json_t *own = kube_policy_pod_security(policy);

    return kube_pod_security(restricted, settings->kubernetes_pod_security_context, own);
}

json_t *container_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    cleanup_json json_t *own = kube_policy_container_security(policy);

    return kube_container_security(restricted, settings->kubernetes_container_security_context, own);
}
