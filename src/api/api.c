/* From a path and a method to a handler. The table is the whole surface below /api/v1/: a path that is not in it is 404, one that is
 * in it with other methods 405, and nothing of it ever reaches a guest. */
#include "api/api.h"

#include "api/answer.h"
#include "api/handlers.h"
#include "api/validation.h"
#include "base/log.h"

static const struct resource {
    const char *pattern;                /* below /api/v1/; "{id}" stands for one segment */
    const char *allow;                  /* its methods, as the Allow header names them */
    struct {
        const char *name;
        handler *handle;
    } methods[5];
} resources[] = {
    { "policies", "GET, POST", { { "GET", policies_list }, { "POST", policies_create } } },
    { "policies/{id}", "GET, PUT, PATCH, DELETE",
      { { "GET", policies_get }, { "PUT", policies_put }, { "PATCH", policies_patch }, { "DELETE", policies_delete } } },
    { "policies/{id}/lifecycle", "GET, PUT", { { "GET", lifecycle_get }, { "PUT", lifecycle_put } } },
    { "status", "GET", { { "GET", status_get } } },
    { "terminals", "GET", { { "GET", terminals_list } } },
    { "terminals/stop", "POST", { { "POST", terminals_stop } } },
    { "terminals/refresh", "POST", { { "POST", terminals_refresh } } },
};

/* Segment by segment on the path as received, so that an encoded slash separates nothing. `*id` is the segment at "{id}". */
static bool pattern_matches(const char *pattern, struct str path, struct str *id)
{
    struct str wanted = str_from(pattern);

    for (;;) {
        size_t wanted_end = str_find_char(wanted, '/'), path_end = str_find_char(path, '/');
        struct str want = wanted, have = path;
        if (wanted_end != SIZE_MAX)
            want.len = wanted_end;
        if (path_end != SIZE_MAX)
            have.len = path_end;
        if (str_equal_text(want, "{id}") && have.len > 0)
            *id = have;
        else if (!str_equal(want, have))
            return false;
        if (wanted_end == SIZE_MAX || path_end == SIZE_MAX)
            return wanted_end == path_end;
        wanted = str_skip(wanted, wanted_end + 1);
        path = str_skip(path, path_end + 1);
    }
}

static const struct resource *find_resource(struct str path, struct str *id)
{
    for (size_t i = 0; i < COUNT_OF(resources); i++)
        if (pattern_matches(resources[i].pattern, path, id))
            return &resources[i];
    return NULL;
}

static handler *find_handler(const struct resource *resource, struct str method)
{
    for (size_t i = 0; resource->methods[i].name; i++)
        if (str_equal_text(method, resource->methods[i].name))
            return resource->methods[i].handle;
    return NULL;
}

/* The policy id of a path, decoded once; NULL with the answer filled when it is none. The caller frees. */
static char *read_policy_id(struct str encoded, struct api_response *response)
{
    cleanup_free char *decoded = xmalloc(encoded.len + 1);
    size_t len = 0;
    json_t *problems = json_array();
    struct location where = { "path", "policy_id" };

    if (!str_percent_decode(encoded, false, decoded, &len)) {
        cleanup_json json_t *input = json_from_bytes(encoded);
        problem_add(problems, where, "value_error", "Value error, malformed percent-encoding", input, NULL);
    } else if (check_policy_id(problems, where, str_of(decoded, len))) {
        json_decref(problems);
        decoded[len] = '\0';
        return steal(&decoded);
    }
    api_answer_problems(response, problems);
    return NULL;
}

void api_handle(struct api *api, const struct api_request *request, struct api_response *response)
{
    struct str prefix = STR_LITERAL("/api/v1/"), id = { NULL, 0 };
    struct str path = str_starts_with(request->path, prefix) ? str_skip(request->path, prefix.len) : (struct str){ NULL, 0 };
    cleanup_free char *policy_id = NULL;

    *response = (struct api_response){ 0 };
    const struct resource *resource = find_resource(path, &id);
    if (!resource) {
        api_answer_detail(response, 404, "Not Found");
        return;
    }
    handler *handle = find_handler(resource, request->method);
    if (!handle) {
        api_answer_detail(response, 405, "Method Not Allowed");
        response->allow = resource->allow;
        return;
    }
    if (id.data && !(policy_id = read_policy_id(id, response)))
        return;
    struct exchange exchange = { api, request, policy_id, response };
    handle(&exchange);
}

struct api *api_new(const struct api_options *options)
{
    struct api *api = xcalloc(1, sizeof *api);

    pthread_mutex_init(&api->changing, NULL);
    api->settings = options->settings;
    api->store = options->store;
    api->policies = options->policies;
    api->fleet = options->fleet;
    api->backend_name = options->backend_name;
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    pthread_mutex_destroy(&api->changing);
    free(api);
}

int api_put_in_force(struct api *api, struct error *err)
{
    if (api_publish_policies(api->store, api->policies, api->settings, err) < 0)
        return error_wrap(err, "the change is stored but not yet in force");
    fleet_policies_changed(api->fleet);
    return 0;
}

void api_reconfigure(struct api *api, const struct settings *settings)
{
    struct error err;
    HOLD_CHANGING(api);

    api->settings = settings;
    if (api_put_in_force(api, &err) < 0)
        log_error("the new settings are not in force for policies", LOG_ERR(&err));
}
