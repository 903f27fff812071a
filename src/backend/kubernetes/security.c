/* Security contexts: defaults of restricted mode ← the settings' JSON ← the policy's. */
#include "backend/kubernetes/parts.h"

static void lay_over(json_t *context, const json_t *over)
{
    if (json_is_object(over)) {
        cleanup_json json_t *copy = json_deep_copy(over);
        json_object_update_recursive(context, copy);
    }
}

json_t *pod_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    json_t *context = restricted ? json_pack("{s:b, s:{s:s}}", "runAsNonRoot", 1, "seccompProfile", "type", "RuntimeDefault") : json_object();

    lay_over(context, settings->kubernetes_pod_security_context);
    lay_over(context, json_object_get(policy, "podSecurityContext"));
    lay_over(context, json_object_get(policy, "pod_security_context"));
    return context;
}

json_t *container_security_context(const struct settings *settings, const json_t *policy, bool restricted)
{
    json_t *context = restricted ? json_pack("{s:b, s:{s:[s]}, s:b}", "allowPrivilegeEscalation", 0, "capabilities", "drop", "ALL",
                                             "runAsNonRoot", 1) : json_object();

    lay_over(context, settings->kubernetes_container_security_context);
    lay_over(context, json_object_get(policy, "containerSecurityContext"));
    lay_over(context, json_object_get(policy, "container_security_context"));
    return context;
}
