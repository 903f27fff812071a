/* Names, marks, and all objects but the pod (pod.c). */
#include "operator/child.h"

#include <string.h>

#include "backend/key.h"
#include "base/json.h"
#include "base/random.h"
#include "base/secret.h"
#include "kubernetes/object.h"
#include "operator/spec.h"

enum { SERVICE_NAME_MAX = 63, KEY_CHARACTERS = 48 };

/* --- names --- */

static const char *const suffixes[] = {
    [CHILD_SECRET] = "-apikey", [CHILD_SERVICE] = "-svc", [CHILD_PVC] = "-pvc", [CHILD_POD] = "-pod", [CHILD_RESET_POD] = "-reset",
};

/* Names of Services are DNS-1035 labels: no dots, a letter first. */
static bool is_service_name(const char *name)
{
    return strlen(name) <= SERVICE_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' && !strchr(name, '.');
}

char *child_name(enum child_kind kind, const char *terminal)
{
    char *name = xasprintf("%s%s", terminal, suffixes[kind]);
    char digest[65];

    if (kind != CHILD_SERVICE || is_service_name(name))
        return name;
    free(name);
    sha256_hex(str_from(terminal), digest);
    return xasprintf("terminal-%.32s-svc", digest);
}

char *child_terminal(const json_t *object)
{
    const char *exact = kube_annotation(object, LABEL_TERMINAL), *label = kube_label(object, LABEL_TERMINAL);
    struct str name = str_from(kube_name(object));

    if (exact)
        return xstrdup(exact);
    for (size_t i = 0; name.data && i < COUNT_OF(suffixes); i++) {
        if (i != CHILD_SERVICE && str_ends_with(name, str_from(suffixes[i])))
            return xstrndup(name.data, name.len - strlen(suffixes[i]));
    }
    return label && *label ? xstrdup(label) : NULL;
}

char *child_claim_name(const struct origin *origin)
{
    return spec_is_shared(origin->spec) ? xasprintf("terminals-shared-%s", origin->namespace) : child_name(CHILD_PVC, origin->name);
}

/* --- whose an object is --- */

bool child_is_of_user(const json_t *object, const char *user)
{
    const char *exact = kube_annotation(object, ANNOTATION_USER_ID), *label = kube_label(object, LABEL_USER_ID);

    if (!user || !(managed_by_us(kube_label(object, LABEL_MANAGED_BY)) || kube_label(object, LABEL_TERMINAL)))
        return false;
    return exact ? strcmp(exact, user) == 0 : label && kube_label_stands_for(label, user);
}

/* --- marks --- */

static void put_label(json_t *labels, const char *key, const char *value)
{
    cleanup_free char *valid = kube_label_value(value);

    json_object_set_new(labels, key, json_string(valid));
}

/* Those that follow from the name alone, and that nothing replaces: what a Service may select a pod of the terminal by. */
static void put_name_labels(json_t *labels, const char *terminal)
{
    json_object_set_new(labels, "app.kubernetes.io/name", json_string("open-terminal"));
    json_object_set_new(labels, "app.kubernetes.io/part-of", json_string("open-terminal"));
    json_object_set_new(labels, LABEL_MANAGED_BY, json_string(LABEL_MANAGED_BY_VALUE));
    put_label(labels, "app.kubernetes.io/instance", terminal);
    put_label(labels, LABEL_TERMINAL, terminal);
}

static json_t *labels_of(const struct origin *origin)
{
    const char *context = json_text(origin->spec, "contextId"), *policy = json_text(origin->spec, "policyId");
    const char *user = json_text(origin->spec, "userId");
    json_t *labels = json_is_object(origin->settings->kubernetes_labels) ? json_deep_copy(origin->settings->kubernetes_labels) : json_object();

    put_name_labels(labels, origin->name);
    put_label(labels, LABEL_USER_ID, user ? user : "");
    put_label(labels, LABEL_CONTEXT_ID, context ? context : DEFAULT_CONTEXT_ID);
    if (policy)
        put_label(labels, LABEL_POLICY, policy);
    return labels;
}

static json_t *annotations_of(const struct origin *origin)
{
    const char *context = json_text(origin->spec, "contextId"), *user = json_text(origin->spec, "userId");

    return json_pack("{s:s, s:s, s:s, s:s*}", LABEL_TERMINAL, origin->name, ANNOTATION_USER_ID, user ? user : "",
                     ANNOTATION_CONTEXT_ID, context ? context : DEFAULT_CONTEXT_ID,
                     ANNOTATION_POLICY_ID, json_text(origin->spec, "policyId"));
}

json_t *child_marks(const struct origin *origin)
{
    return json_pack("{s:o, s:o}", "labels", labels_of(origin), "annotations", annotations_of(origin));
}

json_t *child_owners(const struct origin *origin)
{
    return json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", origin->api_version, "kind", "Terminal", "name", origin->name,
                     "uid", origin->uid, "controller", 1, "blockOwnerDeletion", 1);
}

/* The part that all objects begin with; `owned`: they go when the resource goes. */
static json_t *object_of(const struct origin *origin, const char *kind, char *name, bool owned)
{
    json_t *metadata = child_marks(origin);
    json_t *object = json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", kind, "metadata", metadata);

    ASSERT(object);
    json_object_set_new(metadata, "name", json_string(name));
    json_object_set_new(metadata, "namespace", json_string(origin->namespace));
    if (owned)
        json_object_set_new(metadata, "ownerReferences", child_owners(origin));
    free(name);
    return object;
}

json_t *child_secret(const struct origin *origin)
{
    cleanup_free char *random = random_alphanumeric(KEY_CHARACTERS);
    cleanup_secret char *key = xasprintf("sk-%s", random);
    json_t *secret = object_of(origin, "Secret", child_name(CHILD_SECRET, origin->name), true);

    json_object_set_new(secret, "type", json_string("Opaque"));
    json_object_set_new(secret, "stringData", json_pack("{s:s}", TERMINAL_KEY_FIELD, key));
    explicit_bzero(random, KEY_CHARACTERS);
    return secret;
}

/* --- the service --- */

static bool says(const json_t *object, const char *key, const char *text, const char *where_missing)
{
    const char *given = json_text(object, key);

    return strcmp(given ? given : where_missing, text) == 0;
}

/* The parts that have to be as they are. */
static json_t *service_spec(const char *terminal, const char *type)
{
    cleanup_free char *label = kube_label_value(terminal);

    return json_pack("{s:s, s:{s:s, s:s}, s:[{s:s, s:i, s:i, s:s}]}", "type", type, "selector", LABEL_TERMINAL, label,
                     "app.kubernetes.io/name", "open-terminal",
                     "ports", "name", "http", "port", TERMINAL_PORT, "targetPort", TERMINAL_PORT, "protocol", "TCP");
}

void child_repair_service(json_t *service, const char *terminal, const char *type)
{
    static const char *const of_other_types[] = { "externalName", "externalTrafficPolicy", "healthCheckNodePort", "loadBalancerClass",
                                                  "loadBalancerIP", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts" };
    cleanup_json json_t *right = service_spec(terminal, type);
    json_t *spec = json_object_get(service, "spec");

    for (size_t i = 0; !says(spec, "type", type, "ClusterIP") && i < COUNT_OF(of_other_types); i++)
        json_object_del(spec, of_other_types[i]);
    json_object_update(spec, right);
}

json_t *child_service(const struct origin *origin)
{
    json_t *service = object_of(origin, "Service", child_name(CHILD_SERVICE, origin->name), true);

    json_object_set_new(service, "spec", service_spec(origin->name, origin->settings->kubernetes_service_type));
    return service;
}

/* The selector has to name the terminal and nothing that its pod has not got; one port has to be ours. */
static bool selector_is_right(const char *terminal, const json_t *selector)
{
    cleanup_json json_t *labels = json_object();
    const char *key;
    json_t *value;

    put_name_labels(labels, terminal);
    json_object_foreach((json_t *)selector, key, value) {
        if (!json_equal(value, json_object_get(labels, key)))
            return false;
    }
    return json_object_get(selector, LABEL_TERMINAL) != NULL;
}

static bool leads_to_guest(const json_t *port)
{
    const json_t *target = json_object_get(port, "targetPort");
    const char *named = json_string_value(target);

    return json_integer_value(json_object_get(port, "port")) == TERMINAL_PORT && says(port, "protocol", "TCP", "TCP") &&
           (json_integer_value(target) == TERMINAL_PORT || (named && strcmp(named, "http") == 0));
}

bool child_service_is_right(const char *terminal, const char *type, const json_t *service)
{
    const json_t *spec = json_object_get(service, "spec"), *port;
    size_t index;

    if (!says(spec, "type", type, "ClusterIP") || !selector_is_right(terminal, json_object_get(spec, "selector")))
        return false;
    json_array_foreach(json_object_get(spec, "ports"), index, port) {
        if (leads_to_guest(port))
            return true;
    }
    return false;
}

/* --- homes --- */

static void put_claim(json_t *claim, const struct origin *origin, const char *mode)
{
    cleanup_free char *size = kube_format_size(spec_storage_size(origin->spec));
    const char *class = spec_storage_class(origin->spec);

    if (!class)
        class = origin->settings->kubernetes_storage_class;
    json_object_set_new(claim, "spec", json_pack("{s:[s], s:{s:{s:s}}, s:s*}", "accessModes", mode, "resources", "requests",
                                                 "storage", size, "storageClassName", class));
}

json_t *child_pvc(const struct origin *origin)
{
    json_t *claim = object_of(origin, "PersistentVolumeClaim", child_name(CHILD_PVC, origin->name), false);

    put_claim(claim, origin, "ReadWriteOnce");
    return claim;
}

json_t *child_shared_pvc(const struct origin *origin)
{
    const struct settings *settings = origin->settings;
    char *name = child_claim_name(origin);
    json_t *labels = json_is_object(settings->kubernetes_labels) ? json_deep_copy(settings->kubernetes_labels) : json_object();
    json_t *claim = json_pack("{s:s, s:s, s:{s:s, s:s, s:o}}", "apiVersion", "v1", "kind", "PersistentVolumeClaim", "metadata",
                              "name", name, "namespace", origin->namespace, "labels", labels);

    ASSERT(claim);
    json_object_set_new(labels, LABEL_MANAGED_BY, json_string(LABEL_MANAGED_BY_VALUE));
    json_object_set_new(labels, "app.kubernetes.io/part-of", json_string("open-terminal"));
    put_claim(claim, origin, spec_access_mode(origin->spec));
    free(name);
    return claim;
}
