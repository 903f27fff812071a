/* All stored policies at one moment, indexed by id. Built once, then only read, from any thread. */
#include <stdatomic.h>
#include <strings.h>

#include "base/json.h"
#include "policy/lenient.h"
#include "policy/policy.h"

#define DEFAULT_POLICY "default"

struct policy_snapshot {
    _Atomic unsigned references;
    struct policy_limits *limits;
    struct map by_id;           /* struct policy, owned */
    size_t stored;
};

/* --- one policy ---------------------------------------------------------------------------------------------- */

static void policy_free(void *value)
{
    struct policy *policy = value;

    free(policy->id);
    json_decref(policy->data);
    free(policy->created_at);
    free(policy->updated_at);
    json_decref(policy->access);
    json_decref(policy->lifecycle);
    free(policy);
}

/* The member unless it is missing or null. Borrowed. */
static json_t *member(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);

    return json_is_null(value) ? NULL : value;
}

static int64_t effective_idle_minutes(const struct policy_limits *limits, const json_t *data)
{
    const json_t *value = member(data, "idle_timeout_minutes");
    struct complaint ignored;
    int64_t minutes;

    /* One that is unreadable fails when the policy is resolved; until then the service's value is as good as any. */
    if (!value || !lenient_integer(value, &minutes, &ignored))
        minutes = limits->idle_timeout_minutes;
    return minutes > INT32_MAX ? INT32_MAX : minutes;
}

static char *copy_text(const json_t *row, const char *name)
{
    const char *text = json_text(row, name);

    return text ? xstrdup(text) : NULL;
}

/* `row` NULL gives the built-in policy. */
static struct policy *policy_new(const struct policy_limits *limits, const char *id, const json_t *row)
{
    struct policy *policy = xcalloc(1, sizeof(*policy));
    const json_t *data = member(row, "data"), *lifecycle = member(row, "lifecycle");
    const char *image = json_text(data, "image");

    policy->id = xstrdup(id);
    bool unreadable = json_is_null(json_object_get(row, "data"));
    policy->data = unreadable ? json_null() : data ? json_deep_copy(data) : json_object();
    policy->created_at = copy_text(row, "created_at");
    policy->updated_at = copy_text(row, "updated_at");
    policy->idle_timeout_minutes = effective_idle_minutes(limits, data);
    policy->image = limits->image;
    if (image && image[0])
        policy->image = json_text(policy->data, "image");
    policy->access = unreadable ? json_null() : json_incref(member(policy->data, "access"));
    policy->lifecycle = json_is_object(lifecycle) ? json_deep_copy(lifecycle) : json_object();
    return policy;
}

static bool list_has(const json_t *list, const char *text, bool ignore_case)
{
    for (size_t i = 0; text && text[0] && i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));

        if (item && (ignore_case ? strcasecmp(item, text) : strcmp(item, text)) == 0)
            return true;
    }
    return false;
}

bool policy_allows(const struct policy *policy, const char *user_id, const char *email, const char *role)
{
    const json_t *users = json_object_get(policy->access, "users");

    /* A rule that is there but cannot be read lets nobody in. */
    if (!policy->access)
        return true;
    return list_has(users, user_id, false) || list_has(users, email, true)
        || list_has(json_object_get(policy->access, "roles"), role, false);
}

/* --- the snapshot -------------------------------------------------------------------------------------------- */

static void add_policy(struct policy_snapshot *snapshot, struct policy *policy)
{
    struct policy *replaced = map_put(&snapshot->by_id, str_from(policy->id), policy);

    if (replaced)
        policy_free(replaced);
}

struct policy_snapshot *policy_snapshot_new(struct policy_limits *limits, const json_t *rows)
{
    struct policy_snapshot *snapshot = xcalloc(1, sizeof(*snapshot));

    atomic_init(&snapshot->references, 1);
    snapshot->limits = limits;
    add_policy(snapshot, policy_new(limits, DEFAULT_POLICY, NULL));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *id = json_text(row, "id");
        bool is_stored = json_object_get(row, "data") != NULL;

        if (!id || (!is_stored && strcmp(id, DEFAULT_POLICY) != 0))
            continue;
        snapshot->stored += is_stored;
        add_policy(snapshot, policy_new(limits, id, row));
    }
    return snapshot;
}

struct policy_snapshot *policy_snapshot_ref(struct policy_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void policy_snapshot_unref(struct policy_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) > 1)
        return;
    map_free(&snapshot->by_id, policy_free);
    policy_limits_free(snapshot->limits);
    free(snapshot);
}

const struct policy_limits *policy_snapshot_limits(const struct policy_snapshot *snapshot)
{
    return snapshot->limits;
}

const struct policy *policy_snapshot_find(const struct policy_snapshot *snapshot, struct str policy_id)
{
    return map_get(&snapshot->by_id, policy_id);
}

size_t policy_snapshot_count(const struct policy_snapshot *snapshot)
{
    return snapshot->stored;
}
