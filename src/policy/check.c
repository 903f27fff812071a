/* What is written through the API, judged in the order of the original: types, lifecycle keys, the restricted mode, images;
 * then what the original lets pass. At last the caps. */
#include <strings.h>

#include "base/buf.h"
#include "base/json.h"
#include "policy/fields.h"
#include "policy/rules.h"

#define POLICY_ID_MAX_CHARACTERS 128

bool policy_id_is_valid(struct str id)
{
    size_t characters = 0;

    if (!str_is_utf8(id) || str_has_control(id) || str_find_char(id, '/') != SIZE_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.data[i];

        /* U+0080–U+009F are controls too. */
        if (c == 0xc2 && (unsigned char)id.data[i + 1] <= 0x9f)
            return false;
        characters += (c & 0xc0) != 0x80;
    }
    return characters >= 1 && characters <= POLICY_ID_MAX_CHARACTERS;
}

static int check_lifecycle_keys(const json_t *data, struct error *err)
{
    static const char *const keys[] = { "lifecycle", "reset", "reset_schedule", "reset_timezone" };
    cleanup_buf struct buf found = { 0 };

    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (json_object_get(data, keys[i]))
            buf_printf(&found, "%s%s", found.len > 0 ? ", " : "", keys[i]);
    if (found.len == 0)
        return 0;
    return error_set(err, ERR_INVALID, "Lifecycle keys are not valid policy fields: %.*s", STR_ARG(buf_str(&found)));
}

/* --- restricted mode ----------------------------------------------------------------------------------------- */

static bool is_truthy(const char *text)
{
    static const char *const words[] = { "1", "true", "yes", "on" };
    struct str trimmed = str_trim(str_from(text));

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_equal_nocase(trimmed, str_from(words[i])))
            return true;
    return false;
}

bool policy_is_multi_user(const json_t *data)
{
    const json_t *value = json_object_get(json_object_get(data, "env"), "OPEN_TERMINAL_MULTI_USER");
    cleanup_free char *text = value ? environment_text(value) : NULL;

    return text && is_truthy(text);
}

/* An empty list of packages asks for nothing; an empty list of domains asks for the filter, which needs privileges. */
static bool is_asked_for(const char *name, const char *text)
{
    return text[0] || strcmp(name, "OPEN_TERMINAL_ALLOWED_DOMAINS") == 0;
}

static void complain_restricted(struct buf *messages, const char *name, const char *suffix)
{
    buf_printf(messages, "%s%s%s is not supported in restricted Kubernetes/OpenShift mode", messages->len > 0 ? "; " : "",
               name, suffix);
}

static int check_restricted(const struct policy_limits *limits, const json_t *data, struct error *err)
{
    static const char *const names[] = { "OPEN_TERMINAL_ALLOWED_DOMAINS", "OPEN_TERMINAL_PACKAGES",
                                         "OPEN_TERMINAL_PIP_PACKAGES", "OPEN_TERMINAL_NPM_PACKAGES" };
    const json_t *flag = json_object_get(data, "restricted"), *env = json_object_get(data, "env");
    cleanup_buf struct buf messages = { 0 };

    if (flag ? !json_is_true(flag) : !limits->restricted)
        return 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const json_t *value = json_object_get(env, names[i]);
        cleanup_free char *text = value ? environment_text(value) : NULL;

        if (text && is_asked_for(names[i], text))
            complain_restricted(&messages, names[i], "");
    }
    if (policy_is_multi_user(data))
        complain_restricted(&messages, "OPEN_TERMINAL_MULTI_USER", "=true");
    return messages.len > 0 ? error_set(err, ERR_INVALID, "%.*s", STR_ARG(buf_str(&messages))) : 0;
}

/* --- images and caps ----------------------------------------------------------------------------------------- */

static int check_images(const struct policy_limits *limits, const json_t *data, struct error *err)
{
    const char *image = json_text(data, "image");

    if (!image || !image[0] || image_is_allowed(limits, image))
        image = pod_template_forbidden_image(limits, data);
    return image ? error_set(err, ERR_INVALID, "Image '%s' not in allowed list", image) : 0;
}

/* Lowers what is there. What is absent stays absent, so that a later change of the cap is not frozen into the policy. */
static void apply_caps(const struct policy_limits *limits, json_t *data)
{
    for (enum amount amount = 0; amount < AMOUNT_COUNT; amount++) {
        const char *text = json_text(data, amount_field(amount)), *effective;
        uint64_t value;

        if (text && amount_limit(limits, amount, text, &value, &effective) && effective && effective != text)
            json_object_set_new(data, amount_field(amount), json_string(effective));
    }
}

int policy_check(const struct policy_limits *limits, const json_t *data, const json_t *body_location, json_t **normal,
                 json_t **detail, struct error *err)
{
    cleanup_json json_t *read = NULL;

    *normal = *detail = NULL;
    if (policy_fields_read(data, body_location, &read, detail, err) < 0)
        return -1;
    if (check_lifecycle_keys(read, err) < 0 || check_restricted(limits, read, err) < 0
        || check_images(limits, read, err) < 0 || policy_values_check(limits, read, err) < 0)
        return -1;
    apply_caps(limits, read);
    *normal = steal(&read);
    return 0;
}
