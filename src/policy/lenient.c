/* The rules of pydantic's lax mode, found by trying it, for the types that our bodies have. */
#include "policy/lenient.h"

#include <math.h>
#include <strings.h>

#include "base/buf.h"
#include "base/json.h"

const struct complaint complaint_missing = { "missing", "Field required" };
const struct complaint complaint_not_text = { "string_type", "Input should be a valid string" };
const struct complaint complaint_not_object = { "dict_type", "Input should be a valid dictionary" };
const struct complaint complaint_not_array = { "list_type", "Input should be a valid list" };
const struct complaint complaint_not_body = { "model_attributes_type",
                                              "Input should be a valid dictionary or object to extract fields from" };
const struct complaint complaint_extra = { "extra_forbidden", "Extra inputs are not permitted" };

static const struct complaint not_integer = { "int_type", "Input should be a valid integer" };
static const struct complaint integer_unreadable = {
    "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
};
static const struct complaint integer_too_big = {
    "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size"
};
static const struct complaint integer_has_fraction = {
    "int_from_float", "Input should be a valid integer, got a number with a fractional part"
};
static const struct complaint not_boolean = { "bool_type", "Input should be a valid boolean" };
static const struct complaint boolean_unreadable = {
    "bool_parsing", "Input should be a valid boolean, unable to interpret input"
};

static bool complain(struct complaint *complaint, const struct complaint *what)
{
    *complaint = *what;
    return false;
}

/* --- integers ------------------------------------------------------------------------------------------------ */

/* Cuts off a fraction of zeros: "15.0" is "15". */
static struct str without_zero_fraction(struct str text)
{
    size_t point = str_find_char(text, '.');

    if (point == SIZE_MAX || point == 0 || point + 1 == text.len)
        return text;
    for (size_t i = point + 1; i < text.len; i++)
        if (text.data[i] != '0')
            return text;
    return str_of(text.data, point);
}

/* Digits with single underscores between them, and nothing else. */
static bool collect_digits(struct str text, struct buf *digits)
{
    bool after_digit = false;

    for (size_t i = 0; i < text.len; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';

        if (!is_digit && (text.data[i] != '_' || !after_digit))
            return false;
        if (is_digit)
            buf_append_char(digits, text.data[i]);
        after_digit = is_digit;
    }
    return after_digit;
}

static bool integer_from_text(struct str text, int64_t *number, struct complaint *complaint)
{
    cleanup_buf struct buf digits = { 0 };

    text = without_zero_fraction(str_trim(text));
    if (text.len > 0 && (text.data[0] == '+' || text.data[0] == '-')) {
        if (text.data[0] == '-')
            buf_append_char(&digits, '-');
        text = str_skip(text, 1);
    }
    if (!collect_digits(text, &digits))
        return complain(complaint, &integer_unreadable);
    return str_to_i64(buf_str(&digits), number) || complain(complaint, &integer_too_big);
}

static bool integer_from_real(double value, int64_t *number, struct complaint *complaint)
{
    const double limit = 9223372036854775808.0;

    if (!(value >= -limit && value < limit))
        return complain(complaint, &integer_too_big);
    *number = (int64_t)value;
    if (fpclassify(value - (double)*number) != FP_ZERO)
        return complain(complaint, &integer_has_fraction);
    return true;
}

bool lenient_integer(const json_t *value, int64_t *number, struct complaint *complaint)
{
    if (json_is_integer(value))
        *number = json_integer_value(value);
    else if (json_is_boolean(value))
        *number = json_is_true(value);
    else if (json_is_real(value))
        return integer_from_real(json_real_value(value), number, complaint);
    else if (json_is_string(value))
        return integer_from_text(str_from(json_string_value(value)), number, complaint);
    else
        return complain(complaint, &not_integer);
    return true;
}

/* --- booleans ------------------------------------------------------------------------------------------------ */

static bool boolean_from_number(double value, bool *flag)
{
    *flag = value > 0.5;
    return fpclassify(value) == FP_ZERO || fpclassify(value - 1.0) == FP_ZERO;
}

static bool boolean_from_text(const char *text, bool *flag)
{
    static const struct { const char *word; bool flag; } words[] = {
        { "1", true }, { "on", true }, { "t", true }, { "true", true }, { "y", true }, { "yes", true },
        { "0", false }, { "off", false }, { "f", false }, { "false", false }, { "n", false }, { "no", false },
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *flag = words[i].flag;
            return true;
        }
    }
    return false;
}

bool lenient_boolean(const json_t *value, bool *flag, struct complaint *complaint)
{
    if (json_is_boolean(value)) {
        *flag = json_is_true(value);
        return true;
    }
    if (json_is_integer(value))
        return boolean_from_number((double)json_integer_value(value), flag) || complain(complaint, &boolean_unreadable);
    if (json_is_string(value))
        return boolean_from_text(json_string_value(value), flag) || complain(complaint, &boolean_unreadable);
    if (json_is_real(value) && boolean_from_number(json_real_value(value), flag))
        return true;
    return complain(complaint, &not_boolean);
}

/* --- complaints ---------------------------------------------------------------------------------------------- */

void complaint_append(json_t *detail, const json_t *location, const char *member, const json_t *input,
                      const struct complaint *complaint)
{
    json_t *entry = json_object(), *place = json_copy((json_t *)location);

    if (member)
        json_array_append_new(place, json_string(member));
    json_object_set_new(entry, "type", json_string(complaint->type));
    json_object_set_new(entry, "loc", place);
    json_object_set_new(entry, "msg", json_string(complaint->message));
    json_object_set_new(entry, "input", input ? json_deep_copy(input) : json_null());
    json_array_append_new(detail, entry);
}
