/* See pod.h. */
#include "kubernetes/pod.h"

#include <string.h>

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

/* --- what a policy says --- */

/* Under either spelling of the name; the second wins. */
static json_t *policy_object(const json_t *policy, const char *camel, const char *snake)
{
    return kube_merged(json_object_get(policy, camel), json_object_get(policy, snake));
}

json_t *kube_policy_pod_security(const json_t *policy) { return policy_object(policy, "podSecurityContext", "pod_security_context"); }

json_t *kube_policy_container_security(const json_t *policy)
{
    return policy_object(policy, "containerSecurityContext", "container_security_context");
}

json_t *kube_policy_template(const json_t *policy)
{
    const json_t *given = json_object_get(policy, "podTemplate");

    if (!json_is_object(given))
        given = json_object_get(policy, "pod_template");
    if (!json_is_object(given))
        return json_object();
    if (json_object_get(given, "spec") || json_object_get(given, "metadata"))
        return json_deep_copy(given);
    return json_pack("{s:o}", "spec", json_deep_copy(given));
}

char *kube_escape_variable(const char *value)
{
    char *escaped = xmalloc(strlen(value) * 2 + 1), *to = escaped;

    for (; *value; value++) {
        if (*value == '$')
            *to++ = '$';
        *to++ = *value;
    }
    *to = '\0';
    return escaped;
}

int kube_refuse_network(const char *network, struct error *err)
{
    if (!network)
        return 0;
    return error_set(err, ERR_INVALID_POLICY, "network '%s': on Kubernetes a pod's networks are annotations of the podTemplate", network);
}

static void add_capability(json_t *context, const char *name)
{
    json_t *capabilities = json_object_get(context, "capabilities");

    if (!json_is_object(capabilities))
        json_object_set_new(context, "capabilities", capabilities = json_object());
    json_t *add = json_object_get(capabilities, "add");
    if (!json_is_array(add))
        json_object_set_new(capabilities, "add", add = json_array());
    json_array_append_new(add, json_string(name));
}

void kube_put_privileges(json_t *context, bool allow_sudo, bool net_admin)
{
    if (!allow_sudo)
        json_object_set_new(context, "allowPrivilegeEscalation", json_false());
    if (net_admin)
        add_capability(context, "NET_ADMIN");
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

const json_t *kube_guest_container(const json_t *pod)
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
        take(container, of_container[i], kube_guest_container(pod));
    json_object_set_new(cleaner, "container", container);
    return cleaner;
}
