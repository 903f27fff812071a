/* Finding out how guests are reached, and what follows from it for one guest. */
#include "backend/docker/reach.h"

#include <netdb.h>

#include "base/log.h"
#include "base/secret.h"

#define GUEST_PORT_KEY "8000/tcp"

const char *reach_mode_name(enum reach_mode mode)
{
    switch (mode) {
    case REACH_DIRECT: return "direct";
    case REACH_JOINED: return "joined";
    case REACH_PUBLISHED: return "published";
    }
    return "unknown";
}

struct reach *reach_ref(struct reach *reach)
{
    atomic_fetch_add_explicit(&reach->references, 1, memory_order_relaxed);
    return reach;
}

void reach_unref(struct reach *reach)
{
    if (!reach || atomic_fetch_sub_explicit(&reach->references, 1, memory_order_acq_rel) != 1)
        return;
    free(reach->publish_ip);
    free(reach->self_id);
    free(reach->log_driver);
    json_decref(reach->self_mounts);
    json_decref(reach->near_networks);
    free(reach);
}

/* --- which network ------------------------------------------------------------------------------------------- */

size_t network_shard(const struct terminal_key *key, size_t count)
{
    cleanup_free char *text = xasprintf("%s:%s:%s", key->policy_id, key->user_id, key->context_id);
    unsigned char digest[32];
    size_t remainder = 0;

    sha256_bytes(str_from(text), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        remainder = (remainder * 256 + digest[i]) % count;
    return remainder;
}

const char *reach_network_for(const struct settings *settings, const struct terminal_key *key)
{
    if (settings->docker_networks.count == 0)
        return MANAGED_NETWORK;
    return settings->docker_networks.items[network_shard(key, settings->docker_networks.count)];
}

bool reach_needs_port(const struct reach *reach, const char *network)
{
    return reach->publish_ip && !json_object_get(reach->near_networks, network);
}

/* --- finding out --------------------------------------------------------------------------------------------- */

static int ask_info(struct engine *engine, struct reach *reach, struct error *err)
{
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_INFO, .method = "GET", .path = "/info" };
    const char *driver;

    if (engine_call(engine, &request, &answer, err) < 0)
        return -1;
    driver = json_text(answer.json, "LoggingDriver");
    reach->log_driver = driver ? xstrdup(driver) : NULL;
    reach->cpu_count = (unsigned)json_integer_value(json_object_get(answer.json, "NCPU"));
    return 0;
}

static void note_self(struct engine *engine, struct reach *reach)
{
    cleanup_json json_t *self = self_inspect(engine);
    const json_t *networks = json_object_get(json_object_get(self, "NetworkSettings"), "Networks");
    const char *id = json_text(self, "Id"), *name;
    const json_t *network;

    if (!id)
        return;
    reach->self_id = xstrdup(id);
    reach->self_mounts = json_incref(json_object_get(self, "Mounts"));
    json_object_foreach((json_t *)networks, name, network)
        if (strcmp(name, MANAGED_NETWORK) != 0)
            json_object_set_new(reach->near_networks, name, json_true());
}

/* Whether the bridges of this engine are interfaces of ours, by the network that guests will be on. An engine elsewhere may use the same
 * addresses as one on this machine, but never the same interface name, which holds the network's random id. */
static int look_at_bridges(struct engine *engine, const struct settings *settings, bool *direct, struct error *err)
{
    *direct = false;
    for (size_t i = 0; i < settings->docker_networks.count && !*direct; i++) {
        struct network_facts facts;

        if (network_inspect(engine, settings->docker_networks.items[i], &facts, err) < 0) {
            if (err->class == ERR_NOT_FOUND)
                err->class = ERR_INVALID;
            return error_wrap(err, "TERMINALS_DOCKER_NETWORK");
        }
        *direct = interface_is_ours(facts.bridge, facts.gateway);
        network_facts_clear(&facts);
    }
    return 0;
}

static bool all_are_near(const struct settings *settings, const struct reach *reach)
{
    for (size_t i = 0; i < settings->docker_networks.count; i++)
        if (!json_object_get(reach->near_networks, settings->docker_networks.items[i]))
            return false;
    return settings->docker_networks.count > 0;
}

static int use_joined(struct engine *engine, struct reach *reach, const struct network_facts *managed, struct error *err)
{
    reach->mode = REACH_JOINED;
    if (!managed->gateway)
        return error_set(err, ERR_UNAVAILABLE, "the network '" MANAGED_NETWORK "' has no IPv4 gateway address");
    if (network_join(engine, managed->id, reach->self_id, err) < 0)
        return -1;
    reach->publish_ip = xstrdup(managed->gateway);
    return 0;
}

/* The one address that ports are published on: it must be an address of the engine's host, and never all of them. */
static int resolve_published(const char *address, char **ip, struct error *err)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found = NULL;
    char text[NI_MAXHOST];
    int failed = getaddrinfo(address, NULL, &hints, &found);

    if (failed)
        return error_set(err, ERR_UNAVAILABLE, "TERMINALS_DOCKER_HOST '%s': %s", address, gai_strerror(failed));
    failed = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    if (failed || strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0)
        return error_set(err, ERR_INVALID, "TERMINALS_DOCKER_HOST '%s' must be one address of the Docker host", address);
    *ip = xstrdup(text);
    return 0;
}

static bool is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

static int use_published(struct engine *engine, const struct settings *settings, struct reach *reach, struct error *err)
{
    const struct engine_address *where = engine_where(engine);

    reach->mode = REACH_PUBLISHED;
    for (size_t i = 0; i < settings->docker_networks.count; i++)
        json_object_set_new(reach->near_networks, settings->docker_networks.items[i], json_true());
    if (resolve_published(settings->docker_address, &reach->publish_ip, err) < 0)
        return -1;
    if (settings->docker_networks.count == 0 && is_loopback(reach->publish_ip) && !engine_address_is_local(where))
        return error_set(err, ERR_INVALID, "the Docker Engine at %s is on another machine: set TERMINALS_DOCKER_HOST to the address of that machine "
                         "which guests' ports shall be published on and reached at (now %s)", where->text, reach->publish_ip);
    return 0;
}

static int choose_mode(struct engine *engine, const struct settings *settings, struct reach *reach, struct error *err)
{
    struct network_facts managed = { 0 };
    bool direct = false;
    int result = 0;

    if (look_at_bridges(engine, settings, &direct, err) < 0)
        return -1;
    if (!direct && !all_are_near(settings, reach)) {
        if (settings->docker_networks.count == 0 || reach->self_id)
            result = network_ensure_managed(engine, &managed, err);
        direct = result == 0 && interface_is_ours(managed.bridge, managed.gateway);
    }
    if (result == 0 && direct)
        reach->mode = REACH_DIRECT;
    else if (result == 0 && managed.id && reach->self_id)
        result = use_joined(engine, reach, &managed, err);
    else if (result == 0 && reach->self_id)
        reach->mode = REACH_JOINED;
    else if (result == 0)
        result = use_published(engine, settings, reach, err);
    network_facts_clear(&managed);
    return result;
}

struct reach *reach_find(struct engine *engine, const struct settings *settings, struct error *err)
{
    cleanup_reach struct reach *reach = xcalloc(1, sizeof(*reach));

    reach->references = 1;
    reach->near_networks = json_object();
    if (ask_info(engine, reach, err) < 0)
        return NULL;
    note_self(engine, reach);
    if (choose_mode(engine, settings, reach, err) < 0)
        return NULL;
    log_info("how guests are reached", LOG_STR("mode", reach_mode_name(reach->mode)),
             LOG_STR("published_on", reach->publish_ip ? reach->publish_ip : ""), LOG_STR("own_container", reach->self_id ? reach->self_id : ""));
    return steal(&reach);
}

/* --- one guest ----------------------------------------------------------------------------------------------- */

static bool set_endpoint(struct endpoint *endpoint, const char *ip, const char *port)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;
    uint64_t number;

    if (!str_to_u64(str_from(port), &number) || number == 0 || number > 65535 || getaddrinfo(ip, port, &hints, &found))
        return false;
    *endpoint = (struct endpoint){ .address_len = found->ai_addrlen, .port = (unsigned)number };
    memcpy(&endpoint->address, found->ai_addr, found->ai_addrlen);
    (void)snprintf(endpoint->host, sizeof(endpoint->host), "%s", ip);
    freeaddrinfo(found);
    return true;
}

/* The guest's own address on a network that we are near to; the one it was made on comes first. */
static const char *near_address(const struct reach *reach, const json_t *inspection)
{
    const json_t *networks = json_object_get(json_object_get(inspection, "NetworkSettings"), "Networks"), *network;
    const char *made_on = json_text(json_object_get(inspection, "HostConfig"), "NetworkMode"), *name, *best = NULL;

    json_object_foreach((json_t *)networks, name, network) {
        const char *address = json_text(network, "IPAddress");

        if (!address || !*address || (reach->mode != REACH_DIRECT && !json_object_get(reach->near_networks, name)))
            continue;
        if (made_on && strcmp(name, made_on) == 0)
            return address;
        best = address;
    }
    return best;
}

/* A guest of the original program publishes on 0.0.0.0, which holds our address too. */
static bool published_endpoint(const struct reach *reach, const json_t *inspection, struct endpoint *endpoint)
{
    const json_t *bindings = json_object_get(json_object_get(json_object_get(inspection, "NetworkSettings"), "Ports"), GUEST_PORT_KEY);
    const json_t *binding;
    size_t index;

    if (!reach->publish_ip)
        return false;
    json_array_foreach(bindings, index, binding) {
        const char *ip = json_text(binding, "HostIp"), *port = json_text(binding, "HostPort");

        if (ip && port && (!*ip || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, reach->publish_ip) == 0)
            && set_endpoint(endpoint, reach->publish_ip, port))
            return true;
    }
    return false;
}

bool reach_endpoint(const struct reach *reach, const json_t *inspection, struct endpoint *endpoint)
{
    const char *address = near_address(reach, inspection);

    *endpoint = (struct endpoint){ 0 };
    if (address)
        return set_endpoint(endpoint, address, "8000");
    return published_endpoint(reach, inspection, endpoint);
}
