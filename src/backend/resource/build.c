/* The resource that a resolved policy becomes. Pure. */
#include <string.h>

#include "backend/resource/parts.h"
#include "base/json.h"
#include "kubernetes/pod.h"

#define REQUEST_NANO_CPUS 100000000ull  /* the schema's defaults; a smaller limit is the request too */
#define REQUEST_BYTES (256ull << 20)
/* Before the policy's hash: the number of the rules by which a policy becomes a resource. When they change, so do resources that sleep. */
#define RULES "2-"

/* --- metadata --- */

static void put_label(json_t *labels, const char *key, const char *value)
{
    cleanup_free char *valid = kube_label_value(value);

    json_object_set_new(labels, key, json_string(valid));
}

static json_t *labels_of(const struct resource *resource, const struct terminal_key *key)
{
    const json_t *extra = resource->settings->kubernetes_labels;
    json_t *labels = json_is_object(extra) ? json_deep_copy(extra) : json_object();
    char hash[13];

    key_hash12(key->context_id, hash);
    put_label(labels, LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE);
    put_label(labels, "app.kubernetes.io/part-of", "open-terminal");
    put_label(labels, LABEL_USER_ID, key->user_id);
    put_label(labels, LABEL_POLICY, key->policy_id);
    put_label(labels, LABEL_CONTEXT_ID, key->context_id);
    put_label(labels, LABEL_CONTEXT_TYPE, context_type(key->context_id));
    put_label(labels, LABEL_CONTEXT_HASH, hash);
    return labels;
}

/* One that only says whose it is. */
static json_t *bare_object(const struct resource *resource, const struct terminal_key *key, const char *name)
{
    json_t *annotations = json_pack("{s:s, s:s, s:s}", ANNOTATION_USER_ID, key->user_id, ANNOTATION_POLICY_ID, key->policy_id,
                                    ANNOTATION_CONTEXT_ID, key->context_id);
    json_t *object = json_pack("{s:s, s:s, s:{s:s, s:s, s:[s], s:o, s:o}, s:{s:s, s:s, s:s}}", "apiVersion", resource->api_version,
        "kind", "Terminal", "metadata", "name", name, "namespace", resource->namespace, "finalizers", TERMINAL_FINALIZER,
        "labels", labels_of(resource, key), "annotations", annotations,
        "spec", "userId", key->user_id, "policyId", key->policy_id, "contextId", key->context_id);

    ASSERT(object);
    return object;
}

static void annotate(json_t *object, const char *key, const char *text)
{
    json_object_set_new(json_object_get(json_object_get(object, "metadata"), "annotations"), key, json_string(text));
}

/* --- spec --- */

static void put_if_filled(json_t *to, const char *key, json_t *object)
{
    if (json_object_size(object) > 0)
        json_object_set(to, key, object);
    json_decref(object);
}

/* The operator hands values to Kubernetes as they stand in the resource. */
static void put_environment(json_t *to, const json_t *env)
{
    json_t *variables = json_object();
    const json_t *value;
    const char *name;

    json_object_foreach((json_t *)env, name, value) {
        if (!json_is_string(value))
            continue;
        cleanup_free char *escaped = kube_escape_variable(json_string_value(value));
        json_object_set_new(variables, name, json_string(escaped));
    }
    put_if_filled(to, "env", variables);
}

/* What the policy's template says of the guest's container. What the resource's schema does not take stays in the template. */
static json_t *amounts_of_template(const json_t *template, const char *list)
{
    const json_t *container = kube_named(kube_at(template, "spec", "containers", NULL), TERMINAL_CONTAINER);
    json_t *amounts = json_object(), *value;
    const char *name;

    json_object_foreach((json_t *)kube_at(container, "resources", list, NULL), name, value) {
        if (json_is_string(value) || json_is_integer(value))
            json_object_set_new(amounts, name, json_deep_copy(value));
    }
    return amounts;
}

/* `limit` is taken over. */
static void put_amount(json_t *limits, json_t *requests, const char *name, char *limit, bool is_small)
{
    json_object_set_new(limits, name, json_string(limit));
    if (is_small && !json_object_get(requests, name))
        json_object_set_new(requests, name, json_string(limit));
    free(limit);
}

/* Where the policy has no limit, its template's holds, and then the schema's default. */
static int put_resources(json_t *to, const struct terminal_spec *spec, const json_t *template, struct error *err)
{
    cleanup_json json_t *limits = amounts_of_template(template, "limits"), *requests = amounts_of_template(template, "requests");

    if (kube_put_gpus(limits, spec->gpus, err) < 0)
        return -1;
    if (spec->nano_cpus)
        put_amount(limits, requests, "cpu", kube_format_cpu(spec->nano_cpus), spec->nano_cpus < REQUEST_NANO_CPUS);
    if (spec->memory_bytes)
        put_amount(limits, requests, "memory", kube_format_bytes(spec->memory_bytes), spec->memory_bytes < REQUEST_BYTES);
    json_object_set_new(to, "resources", json_pack("{s:O, s:O}", "limits", limits, "requests", requests));
    return 0;
}

static void put_home(json_t *to, const struct resource *resource, const struct terminal_spec *spec)
{
    const struct settings *settings = resource->settings;
    const char *class = settings->kubernetes_storage_class;
    cleanup_free char *size = spec->storage_bytes ? kube_format_bytes(spec->storage_bytes) : kube_format_size(settings->kubernetes_storage_size);

    json_object_set_new(to, "persistence", json_pack("{s:b, s:s, s:s}", "enabled", 1, "size", size, "storageClass", class ? class : ""));
    json_object_set_new(to, "storageMode", json_string(spec->storage_mode ? spec->storage_mode : settings->kubernetes_storage_mode));
}

/* The idle time of the policy as it is written there, leniently; else the service's. */
static json_int_t idle_minutes(const struct resource *resource, const struct terminal_spec *spec)
{
    const json_t *value = json_object_get(spec->policy, "idle_timeout_minutes");
    int64_t minutes = resource->settings->idle_timeout_minutes;

    if (json_is_integer(value))
        minutes = json_integer_value(value);
    else if (json_is_string(value))
        (void)str_to_i64(str_from(json_string_value(value)), &minutes);
    return minutes > 0 ? minutes : 0;
}

static void put_security(json_t *to, const struct resource *resource, const struct terminal_spec *spec)
{
    const struct settings *settings = resource->settings;
    cleanup_json json_t *of_container = kube_policy_container_security(spec->policy), *of_pod = kube_policy_pod_security(spec->policy);
    json_t *container = kube_merged(settings->kubernetes_container_security_context, of_container);

    kube_put_privileges(container, spec->allow_sudo, spec->net_admin && !spec->restricted);
    put_if_filled(to, "containerSecurityContext", container);
    put_if_filled(to, "podSecurityContext", kube_merged(settings->kubernetes_pod_security_context, of_pod));
}

static void put_template(json_t *to, const struct terminal_spec *spec)
{
    json_t *template = kube_policy_template(spec->policy);

    if (spec->runtime) {
        json_t *pod = kube_merged(json_object_get(template, "spec"), NULL);
        json_object_set_new(pod, "runtimeClassName", json_string(spec->runtime));
        json_object_set_new(template, "spec", pod);
    }
    put_if_filled(to, "podTemplate", template);
}

json_t *resource_object(const struct resource *resource, const struct terminal_spec *spec, const char *name, struct error *err)
{
    cleanup_json json_t *object = bare_object(resource, spec->key, name);
    cleanup_free char *hash = xasprintf(RULES "%s", spec->spec_hash ? spec->spec_hash : "");
    json_t *to = json_object_get(object, "spec");

    if (kube_refuse_network(spec->network, err) < 0)
        return NULL;
    annotate(object, ANNOTATION_SPEC_HASH, hash);
    json_object_set_new(to, "image", json_string(spec->image));
    put_environment(to, spec->env);
    json_object_set_new(to, "idleTimeoutMinutes", json_integer(idle_minutes(resource, spec)));
    json_object_set_new(to, "restricted", json_boolean(spec->restricted));
    put_home(to, resource, spec);
    put_security(to, resource, spec);
    put_template(to, spec);
    return put_resources(to, spec, json_object_get(to, "podTemplate"), err) < 0 ? NULL : steal(&object);
}

/* --- for a home without a resource --- */

/* With what the settings say of every terminal, as nothing is known of this one's policy. Where it runs is the operator's to say. */
json_t *resource_reset_object(const struct resource *resource, const struct terminal_ref *ref, const char *name, const char *token)
{
    const struct settings *settings = resource->settings;
    const char *image = ref->image ? ref->image : settings->kubernetes_image ? settings->kubernetes_image : settings->image;
    const char *mode = settings->kubernetes_storage_mode;
    const struct terminal_spec spec = { .restricted = settings->restricted, .allow_sudo = true };
    json_t *object = bare_object(resource, ref->key, name), *to = json_object_get(object, "spec");

    annotate(object, ANNOTATION_RESET, token);
    json_object_set_new(to, "image", json_string(image));
    json_object_set_new(to, "storageMode", json_string(mode ? mode : "per-user"));
    json_object_set_new(to, "restricted", json_boolean(spec.restricted));
    put_security(to, resource, &spec);
    return object;
}
