/* What a guest's container is made of, and what can be read from an inspection. Pure functions over JSON. */
#include "backend/docker/parts.h"
#include "base/json.h"

#define DEFAULT_PIDS_LIMIT 4096
#define LEAST_NANO_CPUS 10000000ull

/* --- labels -------------------------------------------------------------------------------------------------- */

json_t *container_labels(const struct terminal_key *key, const char *spec_hash)
{
    char hash[13];
    json_t *labels;

    key_hash12(key->context_id, hash);
    labels = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE, LABEL_USER_ID, key->user_id,
                       LABEL_POLICY, key->policy_id, LABEL_CONTEXT_ID, key->context_id, LABEL_CONTEXT_TYPE, context_type(key->context_id),
                       LABEL_CONTEXT_HASH, hash);
    if (spec_hash)
        json_object_set_new(labels, LABEL_SPEC_HASH, json_string(spec_hash));
    return labels;
}

struct terminal_key *key_from_labels(const json_t *labels)
{
    const char *user = json_text(labels, LABEL_USER_ID);
    const char *policy = json_text(labels, LABEL_POLICY), *context = json_text(labels, LABEL_CONTEXT_ID);

    if (!managed_by_us(json_text(labels, LABEL_MANAGED_BY)) || !user || !*user)
        return NULL;
    return terminal_key_new(str_from(user), str_from(policy && *policy ? policy : DEFAULT_POLICY_ID),
                            str_from(context && *context ? context : DEFAULT_CONTEXT_ID));
}

/* --- the body of create -------------------------------------------------------------------------------------- */

static json_t *environment(const struct terminal_spec *spec)
{
    json_t *list = json_array();
    const char *name;
    const json_t *value;

    json_object_foreach((json_t *)spec->env, name, value)
        if (json_is_string(value) && strcmp(name, "OPEN_TERMINAL_API_KEY") != 0)
            json_array_append_new(list, json_sprintf("%s=%s", name, json_string_value(value)));
    json_array_append_new(list, json_sprintf("OPEN_TERMINAL_API_KEY=%s", spec->guest_key));
    return list;
}

static json_t *mounts(const struct container_plan *plan)
{
    json_t *list = json_array();

    json_array_append(list, (json_t *)plan->home);
    for (size_t i = 0; i < plan->mount_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "Type", "bind", "Source", plan->mounts[i].source,
                                              "Target", plan->mounts[i].target, "ReadOnly", plan->mounts[i].read_only));
    return list;
}

/* "all", a count, or "device=ID[,ID…]". */
static json_t *device_requests(const char *gpus, struct error *err)
{
    struct str text = str_from(gpus), id;
    json_t *request = json_pack("{s:s, s:[[s]]}", "Driver", "", "Capabilities", "gpu"), *ids;
    uint64_t count;

    if (str_equal_text(text, "all")) {
        json_object_set_new(request, "Count", json_integer(-1));
    } else if (str_to_u64(text, &count) && count > 0 && count < 1024) {
        json_object_set_new(request, "Count", json_integer((json_int_t)count));
    } else if (str_starts_with(text, STR_LITERAL("device="))) {
        ids = json_array();
        for (text = str_skip(text, 7); str_next_part(&text, ',', &id);)
            json_array_append_new(ids, json_stringn(id.data, id.len));
        json_object_set_new(request, "DeviceIDs", ids);
    } else {
        json_decref(request);
        (void)error_set(err, ERR_INVALID_POLICY, "gpus '%s' is neither 'all' nor a number nor 'device=ID,…'", gpus);
        return NULL;
    }
    return json_pack("[o]", request);
}

/* A host cannot give more cores than it has, and its engine refuses to try; no kernel rations less than a hundredth of one. */
static uint64_t nano_cpus(const struct terminal_spec *spec, const struct container_plan *plan)
{
    if (plan->most_nano_cpus && spec->nano_cpus > plan->most_nano_cpus)
        return plan->most_nano_cpus;
    return spec->nano_cpus < LEAST_NANO_CPUS ? LEAST_NANO_CPUS : spec->nano_cpus;
}

/* Only drivers that know these options; another would refuse the container. */
static void limit_log(json_t *host, const struct container_plan *plan)
{
    if (plan->log_driver && (strcmp(plan->log_driver, "json-file") == 0 || strcmp(plan->log_driver, "local") == 0))
        json_object_set_new(host, "LogConfig", json_pack("{s:s, s:{s:s, s:s}}", "Type", plan->log_driver,
                                                         "Config", "max-size", "10m", "max-file", "2"));
}

static void set_limits(json_t *host, const struct terminal_spec *spec, const struct container_plan *plan)
{
    if (spec->memory_bytes)
        json_object_set_new(host, "Memory", json_integer((json_int_t)spec->memory_bytes));
    if (spec->nano_cpus)
        json_object_set_new(host, "NanoCpus", json_integer((json_int_t)nano_cpus(spec, plan)));
    json_object_set_new(host, "PidsLimit", json_integer(spec->pids_limit > 0 ? spec->pids_limit : DEFAULT_PIDS_LIMIT));
    if (spec->storage_bytes && plan->storage_size)
        json_object_set_new(host, "StorageOpt", json_pack("{s:o}", "size", json_sprintf("%llu", (unsigned long long)spec->storage_bytes)));
}

static int set_privileges(json_t *host, const struct terminal_spec *spec, struct error *err)
{
    json_t *requests;

    if (!spec->allow_sudo || spec->restricted)
        json_object_set_new(host, "SecurityOpt", json_pack("[s]", "no-new-privileges"));
    if (spec->net_admin)
        json_object_set_new(host, "CapAdd", json_pack("[s]", "NET_ADMIN"));
    if (spec->runtime)
        json_object_set_new(host, "Runtime", json_string(spec->runtime));
    if (!spec->gpus)
        return 0;
    requests = device_requests(spec->gpus, err);
    if (!requests)
        return -1;
    json_object_set_new(host, "DeviceRequests", requests);
    return 0;
}

static json_t *host_config(const struct terminal_spec *spec, const struct container_plan *plan, struct error *err)
{
    json_t *host = json_pack("{s:s, s:b, s:o}", "NetworkMode", plan->network, "Init", plan->init, "Mounts", mounts(plan));

    set_limits(host, spec, plan);
    limit_log(host, plan);
    if (plan->publish_ip)
        json_object_set_new(host, "PortBindings", json_pack("{s:[{s:s, s:s}]}", "8000/tcp", "HostIp", plan->publish_ip, "HostPort", ""));
    if (set_privileges(host, spec, err) == 0)
        return host;
    json_decref(host);
    return NULL;
}

/* What a guest cannot work on: we reach it over TCP. */
static int check_network(const char *network, struct error *err)
{
    if (strcmp(network, "none") == 0 || strcmp(network, "host") == 0 || strncmp(network, "container:", 10) == 0)
        return error_set(err, ERR_INVALID_POLICY, "network '%s' cannot hold a terminal: name a bridge or another network with addresses of its own", network);
    return 0;
}

json_t *container_body(const struct terminal_spec *spec, const struct container_plan *plan, struct error *err)
{
    json_t *host, *body;

    if (check_network(plan->network, err) < 0 || !(host = host_config(spec, plan, err)))
        return NULL;
    body = json_pack("{s:s, s:o, s:s, s:o, s:o, s:{s:{}}}", "Image", spec->image, "Env", environment(spec), "WorkingDir", GUEST_HOME,
                     "Labels", container_labels(spec->key, spec->spec_hash), "HostConfig", host, "ExposedPorts", "8000/tcp");
    if (!body)
        (void)error_set(err, ERR_INVALID, "image, environment or labels are not valid UTF-8");
    return body;
}

/* --- reading an inspection ----------------------------------------------------------------------------------- */

const char *container_env(const json_t *inspection, const char *name)
{
    const json_t *list = json_object_get(json_object_get(inspection, "Config"), "Env"), *entry;
    size_t len = strlen(name), index;

    json_array_foreach(list, index, entry) {
        const char *text = json_string_value(entry);

        if (text && strncmp(text, name, len) == 0 && text[len] == '=')
            return text + len + 1;
    }
    return NULL;
}

bool container_is_of(const json_t *inspection, const struct terminal_key *key)
{
    struct terminal_key *labelled = key_from_labels(json_object_get(json_object_get(inspection, "Config"), "Labels"));
    bool same = labelled && terminal_key_equal(labelled, key);

    terminal_key_free(labelled);
    return same;
}

enum error_class container_exit_reason(const json_t *inspection, char text[static 160])
{
    const json_t *state = json_object_get(inspection, "State");
    const char *status = json_text(state, "Status"), *failure = json_text(state, "Error");
    int code = (int)json_integer_value(json_object_get(state, "ExitCode"));

    if (status && strcmp(status, "created") == 0 && (!failure || !*failure)) {
        (void)snprintf(text, 160, "created, but never started");
        return ERR_NONE;
    }
    if (failure && *failure)
        (void)snprintf(text, 160, "could not run: %.140s", failure);
    else if (json_is_true(json_object_get(state, "OOMKilled")) && code == 137)
        (void)snprintf(text, 160, "killed (out of memory)");
    else if (code > 128 && code < 128 + 65)
        (void)snprintf(text, 160, "exited with code %d (signal %d)", code, code - 128);
    else
        (void)snprintf(text, 160, "exited with code %d", code);
    return ERR_GUEST_CRASHED;
}
