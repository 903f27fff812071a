/* From a stored policy to what a terminal is started with.
 *
 * Nothing that is stored is believed: it may have been written by another version, before a cap, or by hand. */
#include <inttypes.h>

#include "base/json.h"
#include "base/quantity.h"
#include "policy/fields.h"
#include "policy/rules.h"

void terminal_template_free(struct terminal_template *template)
{
    if (!template)
        return;
    free(template->image);
    json_decref(template->env);
    free(template->storage_mode);
    free(template->runtime);
    free(template->gpus);
    free(template->network);
    json_decref(template->policy);
    free(template);
}

static inline void cleanup_template_pointer(struct terminal_template **place) { terminal_template_free(*place); }
#define cleanup_template __attribute__((cleanup(cleanup_template_pointer)))

/* --- images -------------------------------------------------------------------------------------------------- */

/* The service's own image is the operator's choice already and needs no place in the list. */
static int resolve_image(const struct policy_limits *limits, const struct policy *policy, const json_t *data,
                         struct terminal_template *template, struct error *err)
{
    const char *forbidden = NULL;

    if (policy->image != limits->image && !image_is_allowed(limits, policy->image))
        forbidden = policy->image;
    if (!forbidden)
        forbidden = pod_template_forbidden_image(limits, data);
    if (forbidden)
        return error_set(err, ERR_IMAGE_NOT_ALLOWED, "Image '%s' of policy '%s' not in allowed list", forbidden, policy->id);
    template->image = xstrdup(policy->image);
    return 0;
}

/* --- limits and environment ---------------------------------------------------------------------------------- */

static void set_variable(json_t *env, const char *name, const char *text)
{
    json_object_set_new(env, name, json_string(text));
}

static void add_cpu_variables(json_t *env, uint64_t nano_cpus)
{
    char cores[32];

    quantity_format_cpu(nano_cpus, cores);
    set_variable(env, "OPEN_TERMINAL_CPU_LIMIT", cores);
    set_variable(env, "OPEN_TERMINAL_CPU_COUNT", cores);
}

static void add_memory_variables(json_t *env, const char *text, uint64_t bytes)
{
    cleanup_free char *amount = xasprintf("%" PRIu64, bytes);

    set_variable(env, "OPEN_TERMINAL_MEMORY_LIMIT", text);
    set_variable(env, "OPEN_TERMINAL_MEMORY_BYTES", amount);
}

/* Also gives the environment's part that follows from the limits. */
static int resolve_amounts(const struct policy_limits *limits, const json_t *data, struct terminal_template *template,
                           struct error *err)
{
    uint64_t *const values[AMOUNT_COUNT] = { &template->nano_cpus, &template->memory_bytes, &template->storage_bytes };
    const char *effective[AMOUNT_COUNT];

    for (enum amount amount = 0; amount < AMOUNT_COUNT; amount++) {
        const char *text = json_text(data, amount_field(amount));

        if (!amount_limit(limits, amount, text, values[amount], &effective[amount]))
            return error_set(err, ERR_INVALID_POLICY, "Invalid %s '%s'", amount_field(amount), text);
    }
    if (effective[AMOUNT_CPU])
        add_cpu_variables(template->env, template->nano_cpus);
    if (effective[AMOUNT_MEMORY])
        add_memory_variables(template->env, effective[AMOUNT_MEMORY], template->memory_bytes);
    return 0;
}

static int resolve_environment(const struct policy_limits *limits, const json_t *data, struct terminal_template *template,
                               struct error *err)
{
    const char *name;
    json_t *value;

    if (limits->system_prompt)
        set_variable(template->env, "OPEN_TERMINAL_SYSTEM_PROMPT", limits->system_prompt);
    json_object_foreach(json_object_get(data, "env"), name, value) {
        cleanup_free char *text = environment_text(value);

        if (!text || environment_name_is_reserved(name))
            continue;
        if (json_is_string(value) && strlen(text) != json_string_length(value))
            return error_set(err, ERR_INVALID_POLICY, "The value of env name '%s' holds a NUL character", name);
        if (!environment_name_is_valid(name))
            return error_set(err, ERR_INVALID_POLICY, "Invalid env name '%s'", name);
        set_variable(template->env, name, text);
    }
    template->net_admin = json_object_get(template->env, "OPEN_TERMINAL_ALLOWED_DOMAINS") != NULL;
    return 0;
}

/* --- the rest ------------------------------------------------------------------------------------------------ */

/* A copy of the text at `key`; NULL where it is missing or empty. */
static char *copy_text(const json_t *data, const char *key)
{
    const char *text = json_text(data, key);

    return text && text[0] ? xstrdup(text) : NULL;
}

static bool flag_or(const json_t *data, const char *key, bool otherwise)
{
    const json_t *flag = json_object_get(data, key);

    return flag ? json_is_true(flag) : otherwise;
}

static void resolve_words(const struct policy_limits *limits, const json_t *data, struct terminal_template *template)
{
    int64_t pids_limit = json_integer_value(json_object_get(data, "pids_limit"));

    template->storage_mode = copy_text(data, "storage_mode");
    template->runtime = copy_text(data, "runtime");
    template->gpus = copy_text(data, "gpus");
    template->network = copy_text(data, "network");
    template->pids_limit = pids_limit > 0 ? pids_limit : 0;
    template->restricted = flag_or(data, "restricted", limits->restricted);
    template->allow_sudo = flag_or(data, "allow_sudo", true);
}

/* The stored data with its types put right, as the API would have stored it. */
static json_t *read_stored(const struct policy *policy, struct error *err)
{
    cleanup_json json_t *location = json_array(), *detail = NULL;
    json_t *data = NULL;

    if (json_is_null(policy->data)) {
        error_set(err, ERR_INVALID_POLICY, "What is stored as policy '%s' cannot be read: put the policy anew, or delete it", policy->id);
        return NULL;
    }
    if (policy_fields_read(policy->data, location, &data, &detail, err) == 0)
        return data;
    cleanup_free char *text = json_write(detail);

    error_set(err, ERR_INVALID_POLICY, "Policy '%s' has values of wrong types: %s", policy->id, text ? text : "");
    return NULL;
}

struct terminal_template *policy_resolve(const struct policy_snapshot *snapshot, const struct policy *policy,
                                         struct error *err)
{
    const struct policy_limits *limits = policy_snapshot_limits(snapshot);
    cleanup_template struct terminal_template *template = xcalloc(1, sizeof(*template));
    cleanup_json json_t *data = read_stored(policy, err);

    if (!data)
        return NULL;
    template->env = json_object();
    if (resolve_image(limits, policy, data, template, err) < 0)
        return NULL;
    if (resolve_environment(limits, data, template, err) < 0 || resolve_amounts(limits, data, template, err) < 0) {
        error_wrap(err, "policy '%s'", policy->id);
        return NULL;
    }
    resolve_words(limits, data, template);
    template->policy = steal(&data);
    return steal(&template);
}
