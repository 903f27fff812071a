/* /api/v1/status: the service at a glance. The limits shown are those in force. */
#include "api/answer.h"
#include "api/handlers.h"

static json_t *text_list(char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(items[i]));
    return array;
}

void status_get(struct exchange *exchange)
{
    struct fleet_counts counts = { 0 };
    size_t policy_count = 0;
    struct error err;

    if (store_count_policies(exchange->api->store, &policy_count, &err) < 0) {
        api_answer_error(exchange->response, &err);
        return;
    }
    fleet_count(exchange->api->fleet, &counts);
    struct policy_snapshot *snapshot = policies_current(exchange->api->policies);
    const struct policy_limits *limits = policy_snapshot_limits(snapshot);
    json_t *status = json_pack("{s:b, s:s, s:s, s:I, s:s?, s:s?, s:s?, s:o, s:I, s:I, s:I}",
                               "status", 1, "backend", exchange->api->backend_name, "image", limits->image,
                               "idle_timeout_minutes", (json_int_t)limits->idle_timeout_minutes, "max_cpu", limits->max_cpu,
                               "max_memory", limits->max_memory, "max_storage", limits->max_storage,
                               "allowed_images", text_list(limits->allowed_images, limits->allowed_image_count),
                               "active_terminals", (json_int_t)counts.by_phase[TERMINAL_READY],
                               "policy_count", (json_int_t)policy_count,
                               "active_websocket_connections", (json_int_t)counts.websockets);
    policy_snapshot_unref(snapshot);
    api_answer_json(exchange->response, 200, status);
}
