/* See pod.h. */
#include "kubernetes/pod.h"

#include "base/json.h"
#include "kubernetes/object.h"
#include "kubernetes/terminal.h"

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

/* --- emptying a home --- */

static void take(json_t *to, const char *key, const json_t *from)
{
    json_t *value = json_object_get(from, key);

    if (value)
        json_object_set_new(to, key, json_deep_copy(value));
}

static const json_t *container_of(const json_t *pod)
{
    const json_t *list = kube_at(pod, "spec", "containers", NULL), *named = kube_named(list, TERMINAL_CONTAINER);

    return named ? named : json_array_get(list, 0);
}

json_t *kube_cleaner_of(const json_t *pod)
{
    static const char *const of_pod[] = { "securityContext", "nodeSelector", "tolerations", "runtimeClassName", "imagePullSecrets",
                                          "serviceAccountName", "affinity", "priorityClassName" };
    static const char *const of_container[] = { "image", "imagePullPolicy", "securityContext" };
    json_t *cleaner = json_object(), *container = json_object();

    for (size_t i = 0; i < COUNT_OF(of_pod); i++)
        take(cleaner, of_pod[i], json_object_get(pod, "spec"));
    for (size_t i = 0; i < COUNT_OF(of_container); i++)
        take(container, of_container[i], container_of(pod));
    json_object_set_new(cleaner, "container", container);
    return cleaner;
}
