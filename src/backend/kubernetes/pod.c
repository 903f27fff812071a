/* The pods that we make: the terminal's, and the short-lived one that empties its home. Pure functions over JSON. */
#include "backend/kubernetes/parts.h"

#include "kubernetes/pod.h"

#define GRACE_S 10
#define DEFAULT_GROUP 1000              /* of the stock images' user */
#define WIPE_LIMIT_S 600

/* --- the policy's template ----------------------------------------------------------------------------------- */

/* The template's words on the terminal's own container. Borrowed; NULL when it has none. */
static const json_t *template_container(const json_t *template)
{
    return kube_named(kube_at(template, "spec", "containers", NULL), TERMINAL_CONTAINER);
}

/* --- the container ------------------------------------------------------------------------------------------- */

static json_t *environment(const struct terminal_spec *spec, const char *secret)
{
    json_t *list = json_array();
    const char *name;
    const json_t *value;

    json_object_foreach((json_t *)spec->env, name, value) {
        if (!json_is_string(value) || strcmp(name, "OPEN_TERMINAL_API_KEY") == 0)
            continue;
        cleanup_free char *escaped = kube_escape_variable(json_string_value(value));
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", escaped));
    }
    json_array_append_new(list, json_pack("{s:s, s:{s:{s:s, s:s}}}", "name", "OPEN_TERMINAL_API_KEY", "valueFrom", "secretKeyRef", "name", secret,
                                          "key", API_KEY_FIELD));
    return list;
}

/* Every second until it answers (we probe besides, and more often), seldom afterwards. */
static void set_probes(json_t *container)
{
    cleanup_json json_t *health = json_pack("{s:s, s:i}", "path", "/health", "port", GUEST_PORT);

    json_object_set_new(container, "startupProbe", json_pack("{s:O, s:i, s:i, s:i}", "httpGet", health, "periodSeconds", 1, "timeoutSeconds", 5,
                                                             "failureThreshold", 3600));
    json_object_set_new(container, "readinessProbe", json_pack("{s:O, s:i, s:i, s:i}", "httpGet", health, "periodSeconds", 10, "timeoutSeconds", 5,
                                                               "failureThreshold", 3));
}

static json_t *home_mount(const struct pod_plan *plan)
{
    json_t *mount = json_pack("{s:s, s:s}", "name", "home", "mountPath", GUEST_HOME);

    if (plan->sub_path)
        json_object_set_new(mount, "subPath", json_string(plan->sub_path));
    return mount;
}

static json_t *home_volume(const struct pod_plan *plan)
{
    return json_pack("{s:s, s:{s:s}}", "name", "home", "persistentVolumeClaim", "claimName", plan->claim);
}

static void set_privileges(json_t *container, const struct terminal_spec *spec, const struct settings *settings)
{
    json_t *context = container_security_context(settings, spec->policy, spec->restricted);

    kube_put_privileges(context, spec->allow_sudo, spec->net_admin && !spec->restricted);
    json_object_set_new(container, "securityContext", context);
}

static json_t *guest_container(const struct terminal_spec *spec, const struct pod_plan *plan, const json_t *template, struct error *err)
{
    json_t *resources = pod_resources(spec, json_object_get(template_container(template), "resources"), err), *container;
    char secret[OBJECT_NAME_SIZE];

    if (!resources)
        return NULL;
    secret_name(plan->name, secret);
    container = json_pack("{s:s, s:s, s:s, s:o, s:[{s:s, s:i}], s:[o], s:o}", "name", TERMINAL_CONTAINER, "image", spec->image,
                          "workingDir", GUEST_HOME, "env", environment(spec, secret), "ports", "name", "http", "containerPort", GUEST_PORT,
                          "volumeMounts", home_mount(plan), "resources", resources);
    if (!container) {
        (void)error_set(err, ERR_INVALID_POLICY, "image or environment is not valid UTF-8");
        return NULL;
    }
    set_probes(container);
    set_privileges(container, spec, plan->settings);
    return container;
}

/* --- the pod ------------------------------------------------------------------------------------------------- */

/* A fresh volume often belongs to root: the group makes it writable for a guest that does not start as root. */
static void choose_fs_group(json_t *context, const json_t *given)
{
    const json_t *group = json_object_get(context, "runAsGroup");

    if (json_object_get(context, "fsGroup") || json_object_get(given, "fsGroup"))
        return;
    json_object_set_new(context, "fsGroup", json_integer(json_is_integer(group) && json_integer_value(group) > 0 ? json_integer_value(group)
                                                                                                                : DEFAULT_GROUP));
    if (!json_object_get(given, "fsGroupChangePolicy"))
        json_object_set_new(context, "fsGroupChangePolicy", json_string("OnRootMismatch"));
}

static json_t *pod_metadata(const struct terminal_spec *spec, const struct pod_plan *plan)
{
    json_t *metadata = terminal_metadata(spec->key, plan->namespace, plan->name, plan->name, plan->settings->kubernetes_labels);
    json_t *annotations = json_object_get(metadata, "annotations");
    char hash[13];

    key_hash12(plan->guest_key, hash);
    json_object_set_new(annotations, ANNOTATION_KEY_HASH, json_string(hash));
    if (spec->spec_hash)
        json_object_set_new(annotations, ANNOTATION_SPEC_HASH, json_string(spec->spec_hash));
    return metadata;
}

static void set_placement(json_t *pod_spec, const struct settings *settings, const char *runtime)
{
    if (json_object_size(settings->kubernetes_node_selector) > 0)
        json_object_set(pod_spec, "nodeSelector", settings->kubernetes_node_selector);
    if (json_array_size(settings->kubernetes_tolerations) > 0)
        json_object_set(pod_spec, "tolerations", settings->kubernetes_tolerations);
    if (runtime)
        json_object_set_new(pod_spec, "runtimeClassName", json_string(runtime));
}

/* `container` is taken over. */
static json_t *generated_pod(const struct terminal_spec *spec, const struct pod_plan *plan, const json_t *template, json_t *container)
{
    json_t *context = pod_security_context(plan->settings, spec->policy, spec->restricted);
    json_t *pod_spec = json_pack("{s:s, s:b, s:b, s:i, s:[o], s:[o]}", "restartPolicy", "Always", "automountServiceAccountToken", 0,
                                 "enableServiceLinks", 0, "terminationGracePeriodSeconds", GRACE_S, "containers", container,
                                 "volumes", home_volume(plan));

    if (plan->choose_fs_group)
        choose_fs_group(context, kube_at(template, "spec", "securityContext", NULL));
    json_object_set_new(pod_spec, "securityContext", context);
    set_placement(pod_spec, plan->settings, spec->runtime);
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", pod_metadata(spec, plan), "spec", pod_spec);
}

json_t *pod_body(const struct terminal_spec *spec, const struct pod_plan *plan, struct error *err)
{
    cleanup_json json_t *template = kube_policy_template(spec->policy), *generated = NULL;
    json_t *container, *pod;

    if (kube_refuse_network(spec->network, err) < 0)
        return NULL;
    container = guest_container(spec, plan, template, err);
    if (!container)
        return NULL;
    generated = generated_pod(spec, plan, template, container);
    pod = kube_merge_template(generated, template);
    json_object_del((json_t *)kube_at(pod, "metadata", "labels", NULL), LABEL_WIPE);
    return pod;
}

/* --- emptying a home ----------------------------------------------------------------------------------------- */

json_t *default_cleaner(const struct settings *settings, const char *image)
{
    json_t *cleaner = json_pack("{s:o, s:{s:s, s:o}}", "securityContext", pod_security_context(settings, NULL, settings->restricted),
                                "container", "image", image,
                                "securityContext", container_security_context(settings, NULL, settings->restricted));

    set_placement(cleaner, settings, NULL);
    return cleaner;
}

json_t *wipe_body(const struct terminal_key *key, const struct pod_plan *plan, const json_t *cleaner)
{
    json_t *pod_spec = json_deep_copy(cleaner), *container = json_object_get(pod_spec, "container"), *metadata;

    json_incref(container);
    json_object_del(pod_spec, "container");
    json_object_update_new(container, json_pack("{s:s, s:[s, s, s], s:s, s:[o], s:o}", "name", "wipe", "command", "/bin/sh", "-c", kube_empty_home_script,
                                                "workingDir", "/", "volumeMounts", home_mount(plan), "resources",
                                                json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "requests", "cpu", "10m", "memory", "32Mi",
                                                          "limits", "cpu", "1", "memory", "256Mi")));
    json_object_update_new(pod_spec, json_pack("{s:s, s:b, s:b, s:i, s:i, s:[o], s:[o]}", "restartPolicy", "Never",
                                               "automountServiceAccountToken", 0, "enableServiceLinks", 0, "terminationGracePeriodSeconds", 1,
                                               "activeDeadlineSeconds", WIPE_LIMIT_S, "containers", container, "volumes", home_volume(plan)));
    metadata = terminal_metadata(key, plan->namespace, plan->name, plan->name, plan->settings->kubernetes_labels);
    json_object_set_new(json_object_get(metadata, "labels"), LABEL_WIPE, json_string("true"));
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", metadata, "spec", pod_spec);
}
