/* What the service imposes, copied out of the settings so that a snapshot does not depend on their lifetime. */
#include "base/quantity.h"
#include "policy/policy.h"

static char *copy_or_null(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

/* The settings have checked that caps parse. */
static void set_cap(const char *text, bool (*parse)(struct str, uint64_t *), bool *has, uint64_t *value, char **copy)
{
    *copy = copy_or_null(text);
    *has = *copy && parse(str_from(text), value) && *value > 0;
}

static void copy_list(const struct text_list *list, char ***items, size_t *count)
{
    *items = xcalloc(list->count + 1, sizeof(**items));
    *count = list->count;
    for (size_t i = 0; i < list->count; i++)
        (*items)[i] = xstrdup(list->items[i]);
}

struct policy_limits *policy_limits_new(const struct settings *settings)
{
    struct policy_limits *limits = xcalloc(1, sizeof(*limits));

    limits->image = copy_or_null(settings->backend != BACKEND_DOCKER ? settings->kubernetes_image : NULL);
    if (!limits->image)
        limits->image = xstrdup(settings->image ? settings->image : "");
    set_cap(settings->max_cpu, quantity_parse_cpu, &limits->has_max_cpu, &limits->max_nano_cpus, &limits->max_cpu);
    set_cap(settings->max_memory, quantity_parse_size, &limits->has_max_memory, &limits->max_memory_bytes,
            &limits->max_memory);
    set_cap(settings->max_storage, quantity_parse_size, &limits->has_max_storage, &limits->max_storage_bytes,
            &limits->max_storage);
    copy_list(&settings->allowed_images, &limits->allowed_images, &limits->allowed_image_count);
    limits->idle_timeout_minutes = settings->idle_timeout_minutes;
    limits->restricted = settings->restricted;
    limits->system_prompt = copy_or_null(settings->system_prompt);
    return limits;
}

void policy_limits_free(struct policy_limits *limits)
{
    if (!limits)
        return;
    for (size_t i = 0; i < limits->allowed_image_count; i++)
        free(limits->allowed_images[i]);
    free(limits->allowed_images);
    free(limits->image);
    free(limits->max_cpu);
    free(limits->max_memory);
    free(limits->max_storage);
    free(limits->system_prompt);
    free(limits);
}
