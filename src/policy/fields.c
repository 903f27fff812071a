/* One table of fields, in the order in which mistakes are reported and in which the data is stored. */
#include "policy/fields.h"

#include "base/json.h"
#include "policy/lenient.h"

/* Reads one value: the value to store (a new reference), or NULL after adding complaints to `detail`. */
typedef json_t *read_field_fn(const json_t *value, const json_t *location, const char *name, json_t *detail);

static json_t *read_text(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    if (json_is_string(value))
        return json_deep_copy(value);
    complaint_append(detail, location, name, value, &complaint_not_text);
    return NULL;
}

static json_t *read_integer(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    struct complaint complaint;
    int64_t number;

    if (lenient_integer(value, &number, &complaint))
        return json_integer(number);
    complaint_append(detail, location, name, value, &complaint);
    return NULL;
}

static json_t *read_boolean(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    struct complaint complaint;
    bool flag;

    if (lenient_boolean(value, &flag, &complaint))
        return json_boolean(flag);
    complaint_append(detail, location, name, value, &complaint);
    return NULL;
}

static json_t *read_object(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    if (json_is_object(value))
        return json_deep_copy(value);
    complaint_append(detail, location, name, value, &complaint_not_object);
    return NULL;
}

/* `location` with `name` appended; a new reference. */
static json_t *location_below(const json_t *location, const char *name)
{
    json_t *below = json_copy((json_t *)location);

    json_array_append_new(below, json_string(name));
    return below;
}

/* An environment variable is text; what has no single text is refused. */
static json_t *read_environment(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    cleanup_json json_t *below = location_below(location, name);
    size_t before = json_array_size(detail);
    const char *variable;
    json_t *text;

    if (!json_is_object(value))
        return read_object(value, location, name, detail);
    json_object_foreach((json_t *)value, variable, text)
        if (json_is_object(text) || json_is_array(text))
            complaint_append(detail, below, variable, text, &complaint_not_text);
    return json_array_size(detail) == before ? json_deep_copy(value) : NULL;
}

static void check_texts(const json_t *list, const json_t *location, const char *name, json_t *detail)
{
    cleanup_json json_t *below = location_below(location, name);

    if (!json_is_array(list)) {
        complaint_append(detail, location, name, list, &complaint_not_array);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        cleanup_json json_t *at = json_copy(below);
        const json_t *text = json_array_get(list, i);

        json_array_append_new(at, json_integer((json_int_t)i));
        if (!json_is_string(text))
            complaint_append(detail, at, NULL, text, &complaint_not_text);
    }
}

/* A misspelt member would silently let nobody or everybody in, so here unknown ones are refused. */
static json_t *read_access(const json_t *value, const json_t *location, const char *name, json_t *detail)
{
    cleanup_json json_t *below = location_below(location, name);
    size_t before = json_array_size(detail);
    const char *member;
    json_t *list;

    if (!json_is_object(value))
        return read_object(value, location, name, detail);
    json_object_foreach((json_t *)value, member, list) {
        if (strcmp(member, "users") == 0 || strcmp(member, "roles") == 0)
            check_texts(list, below, member, detail);
        else
            complaint_append(detail, below, member, list, &complaint_extra);
    }
    return json_array_size(detail) == before ? json_deep_copy(value) : NULL;
}

static const struct field {
    const char *name;
    read_field_fn *read;
} fields[] = {
    { "image", read_text },
    { "env", read_environment },
    { "cpu_limit", read_text },
    { "memory_limit", read_text },
    { "storage", read_text },
    { "storage_mode", read_text },
    { "idle_timeout_minutes", read_integer },
    { "restricted", read_boolean },
    { "pod_security_context", read_object },
    { "podSecurityContext", read_object },
    { "container_security_context", read_object },
    { "containerSecurityContext", read_object },
    { "podTemplate", read_object },
    { "pod_template", read_object },
    { "access", read_access },
    { "runtime", read_text },
    { "pids_limit", read_integer },
    { "gpus", read_text },
    { "network", read_text },
    { "allow_sudo", read_boolean },
};

static bool is_field(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (strcmp(fields[i].name, name) == 0)
            return true;
    return false;
}

static void read_known(const json_t *data, const json_t *location, json_t *normal, json_t *detail)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const json_t *value = json_object_get(data, fields[i].name);
        json_t *read;

        if (!value || json_is_null(value))
            continue;
        read = fields[i].read(value, location, fields[i].name, detail);
        if (read)
            json_object_set_new(normal, fields[i].name, read);
    }
}

static void copy_unknown(const json_t *data, json_t *normal)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)data, name, value)
        if (!is_field(name))
            json_object_set_new(normal, name, json_deep_copy(value));
}

int policy_fields_read(const json_t *data, const json_t *location, json_t **normal, json_t **detail, struct error *err)
{
    cleanup_json json_t *read = json_object(), *complaints = json_array();

    if (!json_is_object(data)) {
        bool is_missing = json_array_size(location) == 1 && (!data || json_is_null(data));

        complaint_append(complaints, location, NULL, data, is_missing ? &complaint_missing : &complaint_not_body);
    } else {
        read_known(data, location, read, complaints);
        copy_unknown(data, read);
    }
    if (json_array_size(complaints) > 0) {
        *detail = steal(&complaints);
        return error_set(err, ERR_UNPROCESSABLE, "the policy has values of wrong types");
    }
    *normal = steal(&read);
    return 0;
}
