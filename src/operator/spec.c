/* See spec.h. */
#include "operator/spec.h"

#include <string.h>

#include "base/json.h"
#include "kubernetes/object.h"

#define DEFAULT_SIZE "1Gi"
#define DEFAULT_IDLE_MINUTES 30
#define HASH_RULES "1-"

bool spec_is_persistent(const json_t *spec) { return !json_is_false(kube_at(spec, "persistence", "enabled", NULL)); }

bool spec_is_shared(const json_t *spec)
{
    const char *mode = json_text(spec, "storageMode");

    return spec_is_persistent(spec) && mode && (strcmp(mode, "shared") == 0 || strcmp(mode, "shared-rwo") == 0);
}

const char *spec_access_mode(const json_t *spec)
{
    const char *mode = json_text(spec, "storageMode");

    return mode && strcmp(mode, "shared") == 0 ? "ReadWriteMany" : "ReadWriteOnce";
}

static const char *not_empty(const char *text) { return text && *text ? text : NULL; }

const char *spec_storage_size(const json_t *spec)
{
    const char *size = not_empty(json_text(spec, "storage"));

    if (!size)
        size = not_empty(kube_text_at(spec, "persistence", "size", NULL));
    return size ? size : DEFAULT_SIZE;
}

const char *spec_storage_class(const json_t *spec)
{
    const char *class = not_empty(json_text(spec, "storageClass"));

    return class ? class : not_empty(kube_text_at(spec, "persistence", "storageClass", NULL));
}

bool spec_is_restricted(const json_t *spec) { return json_is_true(json_object_get(spec, "restricted")); }

json_int_t spec_idle_minutes(const json_t *spec)
{
    const json_t *minutes = json_object_get(spec, "idleTimeoutMinutes");

    return json_is_integer(minutes) ? json_integer_value(minutes) : DEFAULT_IDLE_MINUTES;
}

static const char *default_quantity(const char *list, const char *name)
{
    bool limit = strcmp(list, "limits") == 0, cpu = strcmp(name, "cpu") == 0;

    return limit ? (cpu ? "1" : "1Gi") : (cpu ? "100m" : "256Mi");
}

char *spec_quantity(const json_t *spec, const char *list, const char *name)
{
    const json_t *value = kube_at(spec, "resources", list, name, NULL);

    if (json_is_string(value))
        return xstrdup(json_string_value(value));
    return json_is_integer(value) ? xasprintf("%lld", (long long)json_integer_value(value)) : xstrdup(default_quantity(list, name));
}

/* --- the hash --- */

static void put_quantity(json_t *resources, const json_t *spec, const char *list, const char *name)
{
    cleanup_free char *text = spec_quantity(spec, list, name);
    json_t *values = json_object_get(resources, list);

    if (!values)
        json_object_set_new(resources, list, values = json_object());
    json_object_set_new(values, name, json_string(text));
}

static json_t *resources_of(const json_t *spec)
{
    json_t *resources = json_deep_copy(json_object_get(spec, "resources"));

    if (!json_is_object(resources)) {
        json_decref(resources);
        resources = json_object();
    }
    put_quantity(resources, spec, "requests", "cpu");
    put_quantity(resources, spec, "requests", "memory");
    put_quantity(resources, spec, "limits", "cpu");
    put_quantity(resources, spec, "limits", "memory");
    return resources;
}

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

void spec_hash(const json_t *spec, char out[static HASH_SIZE])
{
    static const char *const as_they_are[] = { "image", "podTemplate", "podSecurityContext", "containerSecurityContext", "packages",
                                               "pipPackages", "env" };
    cleanup_json json_t *parts = json_object();
    char hash[HASH_SIZE];

    for (size_t i = 0; i < COUNT_OF(as_they_are); i++)
        if (!is_empty(json_object_get(spec, as_they_are[i])))
            json_object_set(parts, as_they_are[i], json_object_get(spec, as_they_are[i]));
    json_object_set_new(parts, "resources", resources_of(spec));
    json_object_set_new(parts, "restricted", json_boolean(spec_is_restricted(spec)));
    json_object_set_new(parts, "persistent", json_boolean(spec_is_persistent(spec)));
    json_object_set_new(parts, "shared", json_boolean(spec_is_shared(spec)));
    cleanup_free char *text = json_dumps(parts, JSON_COMPACT | JSON_SORT_KEYS);
    ASSERT(text);
    short_hash(text, hash);
    (void)snprintf(out, HASH_SIZE, HASH_RULES "%.16s", hash);
}

bool spec_hash_differs(const char *of_pod, const char *wanted)
{
    return strncmp(of_pod, HASH_RULES, strlen(HASH_RULES)) == 0 && strcmp(of_pod, wanted) != 0;
}
