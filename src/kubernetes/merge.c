/* A pod template under the pod that we generate.
 *
 * The rule is "generated scalars win", with what follows from it for the API: of members that exclude each other (the source of a volume, of an environment
 * variable, the folder of a mount, the way of a probe) the generated choice wins whole, and of the template's metadata only labels and annotations are taken,
 * since name, namespace, owners and finalizers are ours. */
#include "kubernetes/object.h"

#include <string.h>

#include "base/json.h"

static json_t *merge(const json_t *generated, const json_t *template, const char *key);

/* The member by which elements of the list under `key` are told apart; NULL: the list is one value. */
static const char *identity_of(const char *key)
{
    static const char *const by_name[] = { "containers", "initContainers", "env", "ports", "volumeMounts", "volumes" };

    for (size_t i = 0; key && i < COUNT_OF(by_name); i++) {
        if (strcmp(key, by_name[i]) == 0)
            return "name";
    }
    return NULL;
}

/* Elements of these lists are taken whole from one side. */
static bool is_one_choice(const char *key) { return strcmp(key, "env") == 0 || strcmp(key, "volumes") == 0; }

static json_t *find_element(const json_t *list, const char *identity, const char *wanted)
{
    json_t *element;
    size_t i;

    json_array_foreach((json_t *)list, i, element) {
        const char *name = json_text(element, identity);
        if (wanted && name && strcmp(name, wanted) == 0)
            return element;
    }
    return NULL;
}

/* The same port under another name, or without one, cannot be listed twice. */
static bool is_port_of(const json_t *list, const json_t *port)
{
    const char *protocol = json_text(port, "protocol");
    json_t *element;
    size_t i;

    json_array_foreach((json_t *)list, i, element) {
        const char *other = json_text(element, "protocol");
        if (json_equal(json_object_get(element, "containerPort"), json_object_get(port, "containerPort")) &&
            strcmp(protocol ? protocol : "TCP", other ? other : "TCP") == 0)
            return true;
    }
    return false;
}

/* Two mounts cannot lie at the same path. */
static bool is_path_of(const json_t *list, const json_t *mount) { return find_element(list, "mountPath", json_text(mount, "mountPath")) != NULL; }

/* What the template may not add: a generated element under its name, or one that could not stand beside a generated one. Of a volume that is mounted
 * already that is any other mount: the home of a terminal may be one folder of a volume that holds the homes of all. */
static bool is_taken(const json_t *generated, const json_t *element, const char *key, const char *identity)
{
    return find_element(generated, identity, json_text(element, identity)) || (strcmp(key, "ports") == 0 && is_port_of(generated, element)) ||
           (strcmp(key, "volumeMounts") == 0 && is_path_of(generated, element));
}

/* Generated elements first, in their order; then those that only the template has, each of them, also where several have one name. */
static json_t *merge_lists(const json_t *generated, const json_t *template, const char *key)
{
    const char *identity = identity_of(key);
    json_t *result = json_array(), *element;
    size_t i;

    json_array_foreach((json_t *)generated, i, element) {
        const json_t *under = find_element(template, identity, json_text(element, identity));
        json_array_append_new(result, under && !is_one_choice(key) ? merge(element, under, NULL) : json_deep_copy(element));
    }
    json_array_foreach((json_t *)template, i, element) {
        if (json_is_object(element) && !is_taken(generated, element, key, identity))
            json_array_append_new(result, json_deep_copy(element));
    }
    return result;
}

/* Members of which an object has at most one: ways of probing, ways to name the folder of a volume. */
static const char *const choices[][5] = { { "exec", "httpGet", "tcpSocket", "grpc" }, { "subPath", "subPathExpr" } };

static bool is_member(const char *const *names, const char *key)
{
    for (; *names; names++) {
        if (strcmp(*names, key) == 0)
            return true;
    }
    return false;
}

/* Whether what the object has leaves no room for `key`. */
static bool excludes(const json_t *object, const char *key)
{
    const char *its_key;
    json_t *value;

    for (size_t i = 0; i < COUNT_OF(choices); i++) {
        if (!is_member(choices[i], key))
            continue;
        json_object_foreach((json_t *)object, its_key, value) {
            if (is_member(choices[i], its_key))
                return true;
        }
    }
    return false;
}

static json_t *merge_objects(const json_t *generated, const json_t *template)
{
    json_t *result = json_object(), *value;
    const char *key;

    json_object_foreach((json_t *)generated, key, value)
        json_object_set_new(result, key, merge(value, json_object_get(template, key), key));
    json_object_foreach((json_t *)template, key, value) {
        if (!json_object_get(generated, key) && !json_is_null(value) && !excludes(generated, key))
            json_object_set_new(result, key, json_deep_copy(value));
    }
    return result;
}

static json_t *merge(const json_t *generated, const json_t *template, const char *key)
{
    if (json_is_object(generated) && json_is_object(template))
        return merge_objects(generated, template);
    if (json_is_array(generated) && json_is_array(template) && identity_of(key))
        return merge_lists(generated, template, key);
    return json_deep_copy(generated);
}

/* The template with no more metadata than it may decide. */
static json_t *allowed_part(const json_t *template)
{
    static const char *const taken[] = { "labels", "annotations" };
    json_t *part = json_is_object(template) ? json_copy((json_t *)template) : json_object();
    json_t *metadata = json_object();

    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        json_t *value = (json_t *)kube_at(template, "metadata", taken[i], NULL);
        if (json_is_object(value))
            json_object_set(metadata, taken[i], value);
    }
    json_object_set_new(part, "metadata", metadata);
    json_object_del(part, "status");
    return part;
}

json_t *kube_merge_template(const json_t *generated, const json_t *template)
{
    cleanup_json json_t *part = allowed_part(template);

    return merge(generated, part, NULL);
}
