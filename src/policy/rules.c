/* Caps, images, environment: each rule once, for the API and for the start of a terminal. */
#include "policy/rules.h"

#include <fnmatch.h>
#include <inttypes.h>

#include "base/json.h"
#include "base/quantity.h"

/* Minutes of idle time beyond this (4000 years) overflow later reckoning in microseconds. */
#define IDLE_MINUTES_MAX INT32_MAX

/* --- amounts ------------------------------------------------------------------------------------------------- */

const char *amount_field(enum amount amount)
{
    static const char *const names[AMOUNT_COUNT] = { "cpu_limit", "memory_limit", "storage" };

    return names[amount];
}

static bool amount_parse(enum amount amount, const char *text, uint64_t *value)
{
    return amount == AMOUNT_CPU ? quantity_parse_cpu(str_from(text), value) : quantity_parse_size(str_from(text), value);
}

/* The cap's text, or NULL when there is none. */
static const char *amount_cap(const struct policy_limits *limits, enum amount amount, uint64_t *cap)
{
    switch (amount) {
    case AMOUNT_CPU:
        *cap = limits->max_nano_cpus;
        return limits->has_max_cpu ? limits->max_cpu : NULL;
    case AMOUNT_MEMORY:
        *cap = limits->max_memory_bytes;
        return limits->has_max_memory ? limits->max_memory : NULL;
    case AMOUNT_STORAGE:
        *cap = limits->max_storage_bytes;
        return limits->has_max_storage ? limits->max_storage : NULL;
    case AMOUNT_COUNT:
        break;
    }
    return NULL;
}

bool amount_limit(const struct policy_limits *limits, enum amount amount, const char *text, uint64_t *value,
                  const char **effective)
{
    uint64_t cap = 0;
    const char *cap_text = amount_cap(limits, amount, &cap);

    *value = 0;
    if (text && text[0] && !amount_parse(amount, text, value))
        return false;
    *effective = *value > 0 ? text : NULL;
    if (cap_text && (*value == 0 || *value > cap)) {
        *value = cap;
        *effective = cap_text;
    }
    return true;
}

/* --- images -------------------------------------------------------------------------------------------------- */

bool image_is_allowed(const struct policy_limits *limits, const char *image)
{
    /* Without FNM_PATHNAME a star crosses '/'; without escapes, as the original's globs have none. */
    for (size_t i = 0; i < limits->allowed_image_count; i++)
        if (fnmatch(limits->allowed_images[i], image, FNM_NOESCAPE) == 0)
            return true;
    return limits->allowed_image_count == 0;
}

static const char *containers_forbidden_image(const struct policy_limits *limits, const json_t *containers)
{
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const char *image = json_text(json_array_get(containers, i), "image");

        if (image && !image_is_allowed(limits, image))
            return image;
    }
    return NULL;
}

static const char *pod_forbidden_image(const struct policy_limits *limits, const json_t *pod)
{
    static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const char *image = containers_forbidden_image(limits, json_object_get(pod, lists[i]));

        if (image)
            return image;
    }
    return NULL;
}

const char *pod_template_forbidden_image(const struct policy_limits *limits, const json_t *data)
{
    static const char *const names[] = { "podTemplate", "pod_template" };

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const json_t *template = json_object_get(data, names[i]);
        const char *image = pod_forbidden_image(limits, json_object_get(template, "spec"));

        if (!image)
            image = pod_forbidden_image(limits, template);
        if (image)
            return image;
    }
    return NULL;
}

/* --- environment --------------------------------------------------------------------------------------------- */

char *environment_text(const json_t *value)
{
    if (json_is_null(value))
        return NULL;
    return json_is_string(value) ? xstrdup(json_string_value(value)) : json_write(value);
}

bool environment_name_is_valid(const char *name)
{
    return name[0] && !strchr(name, '=') && !str_has_control(str_from(name));
}

bool environment_name_is_reserved(const char *name)
{
    return strcmp(name, "OPEN_TERMINAL_API_KEY") == 0 || strcmp(name, "OPEN_TERMINAL_API_KEY_FILE") == 0;
}

/* --- values -------------------------------------------------------------------------------------------------- */

static int refuse_text(struct error *err, const char *field, const char *text)
{
    return error_set(err, ERR_INVALID, "Invalid %s '%s'", field, text);
}

static int check_amounts(const struct policy_limits *limits, const json_t *data, struct error *err)
{
    for (enum amount amount = 0; amount < AMOUNT_COUNT; amount++) {
        const char *text = json_text(data, amount_field(amount)), *effective;
        uint64_t value;

        if (text && (!text[0] || !amount_limit(limits, amount, text, &value, &effective)))
            return refuse_text(err, amount_field(amount), text);
    }
    return 0;
}

static int check_storage_mode(const json_t *data, struct error *err)
{
    static const char *const modes[] = { "per-user", "shared", "shared-rwo" };
    const char *mode = json_text(data, "storage_mode");

    for (size_t i = 0; mode && i < COUNT_OF(modes); i++)
        if (strcmp(mode, modes[i]) == 0)
            return 0;
    return mode ? refuse_text(err, "storage_mode", mode) : 0;
}

static int check_range(const json_t *data, const char *field, int64_t min, int64_t max, struct error *err)
{
    const json_t *value = json_object_get(data, field);
    int64_t number = json_integer_value(value);

    if (!json_is_integer(value) || (number >= min && number <= max))
        return 0;
    return error_set(err, ERR_INVALID, "Invalid %s '%" PRId64 "'", field, number);
}

/* Words that an engine takes as they are: one line, not empty. */
static int check_words(const json_t *data, struct error *err)
{
    static const char *const words[] = { "runtime", "gpus", "network" };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        const char *text = json_text(data, words[i]);

        if (text && (!text[0] || str_has_control(str_from(text))))
            return refuse_text(err, words[i], text);
    }
    return 0;
}

static int check_environment(const json_t *data, struct error *err)
{
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(data, "env"), name, value) {
        (void)value;
        if (environment_name_is_reserved(name))
            return error_set(err, ERR_INVALID, "%s is set by the service and cannot be given in env", name);
        if (!environment_name_is_valid(name))
            return error_set(err, ERR_INVALID, "Invalid env name '%s'", name);
    }
    return 0;
}

int policy_values_check(const struct policy_limits *limits, const json_t *data, struct error *err)
{
    if (check_amounts(limits, data, err) < 0 || check_storage_mode(data, err) < 0
        || check_range(data, "idle_timeout_minutes", 0, IDLE_MINUTES_MAX, err) < 0
        || check_range(data, "pids_limit", 1, INT32_MAX, err) < 0 || check_words(data, err) < 0)
        return -1;
    return check_environment(data, err);
}
