/* See pod.h. */
#include "kubernetes/pod.h"

#include "base/json.h"

static void lay_over(json_t *object, const json_t *over)
{
    cleanup_json json_t *copy = json_is_object(over) ? json_deep_copy(over) : json_object();

    json_object_update_recursive(object, copy);
}

json_t *kube_merged(const json_t *below, const json_t *above)
{
    json_t *result = json_object();

    lay_over(result, below);
    lay_over(result, above);
    return result;
}

/* --- security contexts --- */

json_t *kube_pod_security(bool restricted, const json_t *settings, const json_t *own)
{
    json_t *context = restricted ? json_pack("{s:b, s:{s:s}}", "runAsNonRoot", 1, "seccompProfile", "type", "RuntimeDefault") : json_object();

    lay_over(context, settings);
    lay_over(context, own);
    return context;
}

json_t *kube_container_security(bool restricted, const json_t *settings, const json_t *own)
{
    json_t *context = restricted ? json_pack("{s:b, s:{s:[s]}, s:b}", "allowPrivilegeEscalation", 0, "capabilities", "drop", "ALL",
                                             "runAsNonRoot", 1) : json_object();

    lay_over(context, settings);
    lay_over(context, own);
    return context;
}
