/* What others may see of the fleet: copies, made under the lock, used without it. */
#include "fleet/internal.h"

void terminal_info_clear(struct terminal_info *info)
{
    terminal_key_free(info->key);
    free(info->name);
    free(info->instance_id);
    free(info->host);
    free(info->message);
    *info = (struct terminal_info){ 0 };
}

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static const char *message_of(const struct terminal *terminal)
{
    if (terminal->phase == TERMINAL_FAILED && terminal->failure)
        return terminal->failure->text;
    return terminal->observed.message;
}

static void describe(const struct terminal *terminal, const struct policy_snapshot *snapshot, struct terminal_info *info)
{
    const struct policy *policy = policy_snapshot_find(snapshot, str_from(terminal->key->policy_id));
    const struct endpoint *endpoint = terminal->observed.endpoint;
    int64_t last_active_ms = terminal_last_active(terminal);
    *info = (struct terminal_info){
        .key = terminal_key_copy(terminal->key),
        .phase = terminal->phase,
        .status = terminal_status(terminal),
        .name = xstrdup(terminal->name),
        .instance_id = copy_or_null(terminal->observed.instance_id),
        .host = endpoint ? xstrdup(endpoint->host) : NULL,
        .port = endpoint ? endpoint->port : 0,
        .message = copy_or_null(message_of(terminal)),
        .last_active_us = last_active_ms ? wall_us_of(last_active_ms) : 0,
        .idle_timeout_minutes = policy ? policy->idle_timeout_minutes : policy_snapshot_limits(snapshot)->idle_timeout_minutes,
        .websockets = terminal->route ? atomic_load(&terminal->route->websockets) : 0,
    };
}

static int compare_infos(const void *a, const void *b)
{
    const struct terminal_key *left = ((const struct terminal_info *)a)->key, *right = ((const struct terminal_info *)b)->key;
    int order = strcmp(left->user_id, right->user_id);
    if (order == 0)
        order = strcmp(left->policy_id, right->policy_id);
    return order ? order : strcmp(left->context_id, right->context_id);
}

static size_t copy_matching(struct fleet *fleet, const struct terminal_filter *filter, const struct policy_snapshot *snapshot,
                            struct terminal_info **infos)
{
    WITH_LOCK(fleet);
    size_t count = 0, cap = 0, position = 0;
    *infos = NULL;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        if (terminal->phase == TERMINAL_ABSENT || !table_matches(terminal, filter))
            continue;
        if (count == cap) {
            cap = cap ? cap * 2 : 16;
            *infos = xrealloc(*infos, cap * sizeof **infos);
        }
        describe(terminal, snapshot, &(*infos)[count++]);
    }
    return count;
}

size_t fleet_list(struct fleet *fleet, const struct terminal_filter *filter, struct terminal_info **infos)
{
    struct policy_snapshot *snapshot = policies_current(fleet->options.policies);
    size_t count = copy_matching(fleet, filter, snapshot, infos);
    policy_snapshot_unref(snapshot);
    if (count > 1)
        qsort(*infos, count, sizeof **infos, compare_infos);
    return count;
}

void fleet_count(struct fleet *fleet, struct fleet_counts *counts)
{
    WITH_LOCK(fleet);
    *counts = (struct fleet_counts){ .waiting_starts = fleet->waiting_count };
    for (unsigned i = 0; i <= TERMINAL_FAILED; i++)
        counts->by_phase[i] = fleet->by_phase[i];
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        int websockets = terminal->route ? atomic_load(&terminal->route->websockets) : 0;
        counts->websockets += websockets > 0 ? (unsigned)websockets : 0;
    }
}
