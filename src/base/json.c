#include "base/json.h"

#include "base/buf.h"

bool json_is_too_deep(struct str text)
{
    bool in_string = false;
    unsigned depth = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return true;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return false;
}

static json_t *parse(struct str text, size_t flags, json_error_t *why)
{
    return json_loadb(text.data ? text.data : "", text.len, flags | JSON_DECODE_ANY, why);
}

static json_t *read_text(struct str text, size_t flags, struct error *err)
{
    json_error_t why;

    if (json_is_too_deep(text)) {
        error_set(err, ERR_INVALID, "JSON nests deeper than %d levels", JSON_DEPTH_MAX);
        return NULL;
    }
    json_t *value = parse(text, flags, &why);
    if (!value && (flags & JSON_ALLOW_NUL) && json_error_code(&why) == json_error_numeric_overflow)
        value = parse(text, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (!value)
        error_set(err, ERR_INVALID, "not JSON: %s (line %d, column %d)", why.text, why.line, why.column);
    return value;
}

json_t *json_read(struct str text, struct error *err) { return read_text(text, JSON_REJECT_DUPLICATES, err); }

json_t *json_read_lenient(struct str text, struct error *err) { return read_text(text, JSON_ALLOW_NUL, err); }

#define WRITE_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

static bool holds_real(const json_t *value)
{
    const char *key;
    size_t i;
    json_t *member;

    json_object_foreach((json_t *)value, key, member)
        if (holds_real(member))
            return true;
    json_array_foreach(value, i, member)
        if (holds_real(member))
            return true;
    return json_is_real(value);
}

/* jansson writes every real with 17 digits, 0.1 as 0.10000000000000001; this with as many as it takes to read the same number. */
static char *write_real(const json_t *value)
{
    for (size_t digits = 15; digits < 17; digits++) {
        cleanup_free char *text = json_dumps(value, WRITE_FLAGS | JSON_REAL_PRECISION(digits));
        if (text && strtod(text, NULL) == json_real_value(value))
            return steal(&text);
    }
    return json_dumps(value, WRITE_FLAGS);
}

static bool append_value(struct buf *out, const json_t *value);

static bool append_scalar(struct buf *out, const json_t *value)
{
    cleanup_free char *text = json_is_real(value) ? write_real(value) : json_dumps(value, WRITE_FLAGS);
    return text && buf_append_text(out, text);
}

static bool append_object(struct buf *out, const json_t *object)
{
    const char *key;
    json_t *member;
    char before = '{';

    json_object_foreach((json_t *)object, key, member) {
        cleanup_json json_t *name = json_string(key);
        if (!buf_append_char(out, before) || !append_scalar(out, name) || !buf_append_char(out, ':') || !append_value(out, member))
            return false;
        before = ',';
    }
    return (before == ',' || buf_append_char(out, '{')) && buf_append_char(out, '}');
}

static bool append_array(struct buf *out, const json_t *array)
{
    size_t i;
    json_t *member;

    if (!buf_append_char(out, '['))
        return false;
    json_array_foreach(array, i, member)
        if ((i > 0 && !buf_append_char(out, ',')) || !append_value(out, member))
            return false;
    return buf_append_char(out, ']');
}

static bool append_value(struct buf *out, const json_t *value)
{
    if (json_is_object(value))
        return append_object(out, value);
    return json_is_array(value) ? append_array(out, value) : append_scalar(out, value);
}

char *json_write(const json_t *value)
{
    if (!holds_real(value))
        return json_dumps(value, WRITE_FLAGS);
    struct buf out = { 0 };
    if (append_value(&out, value))
        return buf_take(&out);
    buf_free(&out);
    return NULL;
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
