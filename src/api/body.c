/* A body is JSON when its content type says so or when it has none; anything else is a text, which no handler takes. jansson reads it;
 * what it refuses is looked at again by json_scan() for the words of the answer. As in the original, the last of several members of
 * one name counts: only this program reads the text, so nobody can be told something else. */
#include "api/body.h"

#include "api/answer.h"
#include "api/json_scan.h"
#include "api/validation.h"
#include "base/json.h"

static const struct location whole_body = { "body", NULL };

static bool content_type_is_json(const struct api_request *request)
{
    if (!request->has_content_type || str_trim(request->content_type).len == 0)
        return true;
    size_t end = str_find_char(request->content_type, ';');
    struct str type = request->content_type;
    if (end != SIZE_MAX)
        type.len = end;
    type = str_trim(type);

    struct str application = STR_LITERAL("application/"), suffix = STR_LITERAL("+json");
    if (type.len <= application.len || !str_equal_nocase(str_of(type.data, application.len), application))
        return false;
    struct str subtype = str_skip(type, application.len);
    if (str_equal_nocase(subtype, STR_LITERAL("json")))
        return true;
    return subtype.len > suffix.len && str_equal_nocase(str_skip(subtype, subtype.len - suffix.len), suffix);
}

/* The text without a byte order mark, which some editors put there. */
static struct str without_mark(struct str text)
{
    struct str mark = STR_LITERAL("\xef\xbb\xbf");
    return str_starts_with(text, mark) ? str_skip(text, mark.len) : text;
}

static void answer_not_json(struct api_response *response, struct str text)
{
    struct json_fault fault;
    if (!json_scan(text, &fault))
        fault = (struct json_fault){ "Expecting value", 0, false };
    if (fault.too_deep) {
        api_answer_detail(response, 400, "There was an error parsing the body");
        return;
    }
    json_t *problem = json_pack("{s:s, s:[s, I], s:s, s:{}, s:{s:s}}", "type", "json_invalid", "loc", "body",
                                (json_int_t)fault.position, "msg", "JSON decode error", "input", "ctx", "error", fault.message);
    api_answer_problems(response, json_pack("[o]", problem));
}

static void answer_no_object(struct api_response *response, const json_t *value)
{
    json_t *problems = json_array();
    if (!value || json_is_null(value))
        problem_add_missing(problems, whole_body, NULL);
    else
        problem_add(problems, whole_body, "model_attributes_type",
                    "Input should be a valid dictionary or object to extract fields from", value, NULL);
    api_answer_problems(response, problems);
}

/* NULL: refused, the answer is filled. */
static json_t *read_value(const struct api_request *request, struct api_response *response)
{
    if (!content_type_is_json(request))
        return json_from_bytes(request->body);
    struct str text = without_mark(request->body);
    if (!str_is_utf8(text)) {
        api_answer_detail(response, 400, "There was an error parsing the body");
        return NULL;
    }
    json_t *value = json_is_too_deep(text) ? NULL : json_loadb(text.data ? text.data : "", text.len, JSON_DECODE_ANY, NULL);
    if (!value)
        answer_not_json(response, text);
    return value;
}

json_t *body_read_object(const struct api_request *request, struct api_response *response)
{
    if (request->body.len == 0) {
        answer_no_object(response, NULL);
        return NULL;
    }
    cleanup_json json_t *value = read_value(request, response);
    if (value && !json_is_object(value)) {
        answer_no_object(response, value);
        return NULL;
    }
    return steal(&value);
}
