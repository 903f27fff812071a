#include "base/json.h"

json_t *json_read(struct str text, struct error *err)
{
    json_error_t why;
    json_t *value = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!value)
        error_set(err, ERR_INVALID, "not JSON: %s (line %d, column %d)", why.text, why.line, why.column);
    return value;
}

char *json_write(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

json_t *json_merge_patch(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *result = json_is_object(target) ? json_deep_copy(target) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)patch, key, value) {
        if (json_is_null(value))
            json_object_del(result, key);
        else
            json_object_set_new(result, key, json_merge_patch(json_object_get(result, key), value));
    }
    return result;
}
