/* The words of each problem are those that clients of the original program see; they stand here once. */
#include "api/validation.h"

#include "base/buf.h"
#include "base/json.h"
#include "policy/lenient.h"
#include "policy/policy.h"

#define MAX_POLICY_ID 128

static json_t *location_array(struct location where)
{
    json_t *loc = json_pack("[s]", where.place);
    if (where.name)
        json_array_append_new(loc, json_string(where.name));
    return loc;
}

void problem_add(json_t *problems, struct location where, const char *type, const char *msg, const json_t *input, json_t *ctx)
{
    json_t *problem = json_pack("{s:s, s:o, s:s}", "type", type, "loc", location_array(where), "msg", msg);
    json_object_set_new(problem, "input", input ? json_deep_copy(input) : json_null());
    if (ctx)
        json_object_set_new(problem, "ctx", ctx);
    json_array_append_new(problems, problem);
}

void problem_add_missing(json_t *problems, struct location where, const json_t *input)
{
    problem_add(problems, where, "missing", "Field required", input, NULL);
}

static void add_too_short(json_t *problems, struct location where, const json_t *input)
{
    problem_add(problems, where, "string_too_short", "String should have at least 1 character", input,
                json_pack("{s:i}", "min_length", 1));
}

const char *check_text(json_t *problems, struct location where, const json_t *value)
{
    if (!json_is_string(value)) {
        problem_add(problems, where, "string_type", "Input should be a valid string", value, NULL);
        return NULL;
    }
    if (json_string_length(value) == 0) {
        add_too_short(problems, where, value);
        return NULL;
    }
    return json_string_value(value);
}

bool check_bool(json_t *problems, struct location where, const json_t *value, bool *out)
{
    struct complaint complaint;
    if (lenient_boolean(value, out, &complaint))
        return true;
    problem_add(problems, where, complaint.type, complaint.message, value, NULL);
    return false;
}

bool check_number(json_t *problems, struct location where, struct str text, int64_t least, int64_t most, int64_t *out)
{
    cleanup_json json_t *input = json_from_bytes(text);

    struct complaint complaint;

    if (!lenient_integer(input, out, &complaint)) {
        problem_add(problems, where, complaint.type, complaint.message, input, NULL);
        return false;
    }
    if (*out >= least && *out <= most)
        return true;
    bool low = *out < least;
    cleanup_free char *msg = xasprintf("Input should be %s than or equal to %lld", low ? "greater" : "less",
                                       (long long)(low ? least : most));
    problem_add(problems, where, low ? "greater_than_equal" : "less_than_equal", msg, input,
                json_pack("{s:I}", low ? "ge" : "le", (json_int_t)(low ? least : most)));
    return false;
}

static size_t character_count(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

bool check_policy_id(json_t *problems, struct location where, struct str id)
{
    if (policy_id_is_valid(id))
        return true;
    cleanup_json json_t *input = json_from_bytes(id);
    if (id.len == 0)
        add_too_short(problems, where, input);
    else if (character_count(id) > MAX_POLICY_ID)
        problem_add(problems, where, "string_too_long", "String should have at most 128 characters", input,
                    json_pack("{s:i}", "max_length", MAX_POLICY_ID));
    else
        problem_add(problems, where, "value_error", "Value error, a policy id is UTF-8 without '/' and control characters",
                    input, NULL);
    return false;
}

/* Length of the well-formed character at the start of `rest`, or 0. */
static size_t character_length(struct str rest)
{
    for (size_t len = 1; len <= 4 && len <= rest.len; len++)
        if (rest.data[0] && str_is_utf8(str_of(rest.data, len)))
            return len;
    return 0;
}

json_t *json_from_bytes(struct str bytes)
{
    struct buf text = { 0 };

    while (bytes.len > 0) {
        size_t len = character_length(bytes);
        if (len > 0)
            buf_append(&text, bytes.data, len);
        else
            buf_append_text(&text, "\xef\xbf\xbd");
        bytes = str_skip(bytes, len > 0 ? len : 1);
    }
    json_t *value = json_stringn(text.data ? text.data : "", text.len);
    buf_free(&text);
    return value;
}
