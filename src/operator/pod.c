/* The pod of a resource, and the one that empties its home.
 *
 * What we generate lies over the resource's template. It runs the guest as an ordinary, unprivileged pod would: no token of the API server, no variables of
 * other services, the key from the secret. A startup probe comes before the others, because guests that install packages take minutes. */
#include <fnmatch.h>
#include <string.h>

#include "base/json.h"
#include "base/quantity.h"
#include "kubernetes/object.h"
#include "kubernetes/pod.h"
#include "operator/child.h"
#include "operator/spec.h"

#define GUEST_USER 1000                 /* who the stock images' guest runs as, in the end */
#define GRACE_S 10
#define RESET_LIMIT_S 600
#define HOME_VOLUME "home"

/* --- the environment --- */

static void put_variable(json_t *variables, const char *name, const char *value)
{
    json_array_append_new(variables, json_pack("{s:s, s:s}", "name", name, "value", value));
}

static void put_default(json_t *variables, const json_t *env, const char *name, const char *value)
{
    if (!json_object_get(env, name))
        put_variable(variables, name, value);
}

static void put_packages(json_t *variables, const json_t *env, const char *name, const json_t *packages)
{
    cleanup_buf struct buf text = { 0 };
    const json_t *package;
    size_t index;

    json_array_foreach(packages, index, package) {
        if (!json_is_string(package))
            continue;
        buf_append_text(&text, text.len ? " " : "");
        buf_append_text(&text, json_string_value(package));
    }
    buf_append_char(&text, 0);
    if (text.len > 1)
        put_default(variables, env, name, text.data);
}

/* The guest is told its limits; what the orchestrator wrote stands. */
static void put_limits(json_t *variables, const json_t *env, const json_t *spec)
{
    cleanup_free char *cpu = spec_quantity(spec, "limits", "cpu"), *memory = spec_quantity(spec, "limits", "memory");
    uint64_t nano_cpus, bytes;
    char text[32];

    if (quantity_parse_cpu(str_from(cpu), &nano_cpus)) {
        quantity_format_cpu(nano_cpus, text);
        put_default(variables, env, "OPEN_TERMINAL_CPU_LIMIT", cpu);
        put_default(variables, env, "OPEN_TERMINAL_CPU_COUNT", text);
    }
    if (quantity_parse_size(str_from(memory), &bytes)) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
        put_default(variables, env, "OPEN_TERMINAL_MEMORY_LIMIT", memory);
        put_default(variables, env, "OPEN_TERMINAL_MEMORY_BYTES", text);
    }
}

static json_t *variables_of(const struct origin *origin)
{
    const json_t *env = json_object_get(origin->spec, "env"), *value;
    cleanup_free char *secret = child_name(CHILD_SECRET, origin->name);
    json_t *variables = json_array();
    const char *name;

    json_object_foreach((json_t *)env, name, value) {
        if (json_is_string(value) && strcmp(name, "OPEN_TERMINAL_API_KEY") != 0 && strcmp(name, "OPEN_TERMINAL_API_KEY_FILE") != 0)
            put_variable(variables, name, json_string_value(value));
    }
    put_packages(variables, env, "OPEN_TERMINAL_PACKAGES", json_object_get(origin->spec, "packages"));
    put_packages(variables, env, "OPEN_TERMINAL_PIP_PACKAGES", json_object_get(origin->spec, "pipPackages"));
    put_limits(variables, env, origin->spec);
    json_array_append_new(variables, json_pack("{s:s, s:{s:{s:s, s:s}}}", "name", "OPEN_TERMINAL_API_KEY", "valueFrom", "secretKeyRef",
                                               "name", secret, "key", TERMINAL_KEY_FIELD));
    return variables;
}

/* --- resources --- */

static bool is_more(const char *name, const char *a, const char *b)
{
    bool (*parse)(struct str, uint64_t *) = strcmp(name, "cpu") == 0 ? quantity_parse_cpu : quantity_parse_size;
    uint64_t first, second;

    return parse(str_from(a), &first) && parse(str_from(b), &second) && first > second;
}

/* A request above its limit would be refused: the limit is meant. */
static void put_resource(json_t *resources, const json_t *spec, const char *name)
{
    cleanup_free char *limit = spec_quantity(spec, "limits", name), *request = spec_quantity(spec, "requests", name);

    json_object_set_new(json_object_get(resources, "limits"), name, json_string(limit));
    json_object_set_new(json_object_get(resources, "requests"), name, json_string(is_more(name, request, limit) ? limit : request));
}

static json_t *object_copy(const json_t *value) { return json_is_object(value) ? json_deep_copy(value) : json_object(); }

static json_t *resources_of(const json_t *spec)
{
    json_t *resources = json_object();

    json_object_set_new(resources, "limits", object_copy(kube_at(spec, "resources", "limits", NULL)));
    json_object_set_new(resources, "requests", object_copy(kube_at(spec, "resources", "requests", NULL)));
    put_resource(resources, spec, "cpu");
    put_resource(resources, spec, "memory");
    return resources;
}

/* --- security --- */

static bool group_is_named(const json_t *context, const json_t *spec)
{
    return json_object_get(context, "fsGroup") || kube_at(spec, "podTemplate", "spec", "securityContext", "fsGroup", NULL);
}

/* The home has to be writable for the guest: volumes belong to root unless a group is named. */
static void put_group(json_t *context, const struct origin *origin)
{
    const json_t *user = json_object_get(context, "runAsUser");

    if (!spec_is_persistent(origin->spec) || group_is_named(context, origin->spec))
        return;
    if (json_is_integer(user) && json_integer_value(user) > 0)
        json_object_set_new(context, "fsGroup", json_integer(json_integer_value(user)));
    else if (!origin->group_is_given)
        json_object_set_new(context, "fsGroup", json_integer(GUEST_USER));
    if (json_object_get(context, "fsGroup"))
        json_object_set_new(context, "fsGroupChangePolicy", json_string("OnRootMismatch"));
}

static json_t *pod_security(const struct origin *origin)
{
    json_t *context = kube_pod_security(spec_is_restricted(origin->spec), origin->settings->kubernetes_pod_security_context,
                                        json_object_get(origin->spec, "podSecurityContext"));

    put_group(context, origin);
    return context;
}

static json_t *container_security(const struct origin *origin)
{
    return kube_container_security(spec_is_restricted(origin->spec), origin->settings->kubernetes_container_security_context,
                                   json_object_get(origin->spec, "containerSecurityContext"));
}

/* --- the guest's container --- */

static const json_t *template_container(const json_t *spec)
{
    return kube_named(kube_at(spec, "podTemplate", "spec", "containers", NULL), TERMINAL_CONTAINER);
}

/* The resource's image, else its template's, else the service's. */
static const char *image_of(const struct origin *origin)
{
    const struct settings *settings = origin->settings;
    const char *image = json_text(origin->spec, "image");

    if (!image || !*image)
        image = json_text(template_container(origin->spec), "image");
    if (!image || !*image)
        image = settings->kubernetes_image;
    return image && *image ? image : settings->image;
}

static json_t *probe(int period_s, int failures)
{
    return json_pack("{s:{s:s, s:i}, s:i, s:i, s:i}", "httpGet", "path", "/health", "port", TERMINAL_PORT, "periodSeconds", period_s,
                     "failureThreshold", failures, "timeoutSeconds", 5);
}

/* Liveness is slow to judge: a guest whose user keeps every core busy is not dead. */
static void put_probes(json_t *container, const struct settings *settings)
{
    int start_s = settings->start_timeout_s > 600 ? (int)settings->start_timeout_s : 600;

    json_object_set_new(container, "startupProbe", probe(1, start_s));
    json_object_set_new(container, "readinessProbe", probe(5, 3));
    json_object_set_new(container, "livenessProbe", probe(20, 9));
}

static json_t *home_mount(const struct origin *origin)
{
    json_t *mount = json_pack("{s:s, s:s}", "name", HOME_VOLUME, "mountPath", TERMINAL_HOME);

    if (spec_is_shared(origin->spec))
        json_object_set_new(mount, "subPath", json_string(origin->name));
    return mount;
}

static json_t *home_volume(const struct origin *origin)
{
    cleanup_free char *claim = child_claim_name(origin);

    return spec_is_persistent(origin->spec) ?
        json_pack("{s:s, s:{s:s}}", "name", HOME_VOLUME, "persistentVolumeClaim", "claimName", claim) :
        json_pack("{s:s, s:{}}", "name", HOME_VOLUME, "emptyDir");
}

static json_t *container_of(const struct origin *origin)
{
    json_t *container = json_pack("{s:s, s:s, s:s, s:[{s:s, s:i, s:s}], s:o, s:o, s:[o]}", "name", TERMINAL_CONTAINER,
        "image", image_of(origin), "workingDir", TERMINAL_HOME, "ports", "name", "http", "containerPort", TERMINAL_PORT, "protocol", "TCP",
        "env", variables_of(origin), "resources", resources_of(origin->spec), "volumeMounts", home_mount(origin));
    json_t *security = container_security(origin);

    ASSERT(container);
    if (json_object_size(security) > 0)
        json_object_set(container, "securityContext", security);
    json_decref(security);
    return container;
}

/* --- the pod --- */

static json_t *pod_metadata(const struct origin *origin, enum child_kind kind)
{
    cleanup_free char *name = child_name(kind, origin->name);
    json_t *metadata = child_marks(origin);

    json_object_set_new(json_object_get(metadata, "annotations"), ANNOTATION_SPEC_HASH, json_string(origin->spec_hash));
    json_object_set_new(metadata, "name", json_string(name));
    json_object_set_new(metadata, "namespace", json_string(origin->namespace));
    json_object_set_new(metadata, "ownerReferences", json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", origin->api_version,
        "kind", "Terminal", "name", origin->name, "uid", origin->uid, "controller", 1, "blockOwnerDeletion", 1));
    return metadata;
}

static json_t *generated_pod(const struct origin *origin, json_t *container)
{
    const struct settings *settings = origin->settings;
    json_t *spec = json_pack("{s:b, s:b, s:[o], s:[o]}", "automountServiceAccountToken", 0, "enableServiceLinks", 0,
                             "containers", container, "volumes", home_volume(origin));
    json_t *pod = json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", pod_metadata(origin, CHILD_POD), "spec", spec);
    json_t *security = pod_security(origin);

    ASSERT(pod);
    if (json_object_size(security) > 0)
        json_object_set(spec, "securityContext", security);
    json_decref(security);
    if (json_is_object(settings->kubernetes_node_selector) && json_object_size(settings->kubernetes_node_selector) > 0)
        json_object_set(spec, "nodeSelector", settings->kubernetes_node_selector);
    if (json_is_array(settings->kubernetes_tolerations) && json_array_size(settings->kubernetes_tolerations) > 0)
        json_object_set(spec, "tolerations", settings->kubernetes_tolerations);
    return pod;
}

static bool image_is_allowed(const struct text_list *allowed, const char *image)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (fnmatch(allowed->items[i], image, 0) == 0)
            return true;
    return allowed->count == 0;
}

static int check_images(const struct origin *origin, const json_t *pod, struct error *err)
{
    static const char *const lists[] = { "containers", "initContainers" };

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const json_t *containers = kube_at(pod, "spec", lists[i], NULL), *container;
        size_t index;
        json_array_foreach(containers, index, container) {
            const char *image = json_text(container, "image");
            if (image && !image_is_allowed(&origin->settings->allowed_images, image))
                return error_set(err, ERR_IMAGE_NOT_ALLOWED, "Image '%s' not in allowed list", image);
        }
    }
    return 0;
}

static void set_where_missing(json_t *object, const char *key, json_t *value)
{
    if (json_object_get(object, key))
        json_decref(value);
    else
        json_object_set_new(object, key, value);
}

/* What is generated, over the template. */
static json_t *merged_pod(const struct origin *origin)
{
    json_t *container = container_of(origin);
    put_probes(container, origin->settings);
    cleanup_json json_t *generated = generated_pod(origin, container);
    const json_t *template = json_object_get(origin->spec, "podTemplate");

    return json_is_object(template) ? kube_merge_template(generated, template) : steal(&generated);
}

json_t *child_pod(const struct origin *origin, struct error *err)
{
    cleanup_json json_t *pod = merged_pod(origin);
    json_t *annotations = json_object_get(json_object_get(pod, "metadata"), "annotations"), *spec = json_object_get(pod, "spec");

    json_object_set_new(annotations, ANNOTATION_KEY_HASH, json_string(origin->key_hash));
    json_object_set_new(spec, "restartPolicy", json_string("Always"));
    set_where_missing(spec, "terminationGracePeriodSeconds", json_integer(GRACE_S));
    if (check_images(origin, pod, err) < 0)
        return NULL;
    return steal(&pod);
}

/* --- the pod that empties the home --- */

/* Without what the service selects by. */
static json_t *reset_metadata(const struct origin *origin)
{
    json_t *metadata = pod_metadata(origin, CHILD_RESET_POD);

    json_object_set_new(json_object_get(metadata, "labels"), "app.kubernetes.io/name", json_string("open-terminal-reset"));
    return metadata;
}

/* The last lines that it prints say why it failed: the status gets them from here. */
static void complete_reset_container(json_t *container, const struct origin *origin)
{
    json_object_update_new(container, json_pack("{s:s, s:[s, s, s], s:s, s:[o], s:o, s:s}", "name", "reset",
        "command", "/bin/sh", "-c", kube_empty_home_script, "workingDir", TERMINAL_HOME, "volumeMounts", home_mount(origin),
        "resources", resources_of(origin->spec), "terminationMessagePolicy", "FallbackToLogsOnError"));
}

/* Without the key, once. Everything below the home goes; the mount itself stays, and what the file system keeps there. */
json_t *child_reset_pod(const struct origin *origin, struct error *err)
{
    cleanup_json json_t *terminal = merged_pod(origin), *spec = kube_cleaner_of(terminal);
    cleanup_json json_t *container = json_incref(json_object_get(spec, "container")), *pod = NULL;

    complete_reset_container(container, origin);
    json_object_del(spec, "container");
    json_object_update_new(spec, json_pack("{s:s, s:b, s:b, s:i, s:i, s:[O], s:[o]}", "restartPolicy", "Never", "automountServiceAccountToken", 0,
        "enableServiceLinks", 0, "activeDeadlineSeconds", RESET_LIMIT_S, "terminationGracePeriodSeconds", 0, "containers", container,
        "volumes", home_volume(origin)));
    pod = json_pack("{s:s, s:s, s:o, s:O}", "apiVersion", "v1", "kind", "Pod", "metadata", reset_metadata(origin), "spec", spec);
    ASSERT(pod);
    if (check_images(origin, pod, err) < 0)
        return NULL;
    return steal(&pod);
}
