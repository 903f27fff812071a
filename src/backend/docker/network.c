/* The managed bridge network and what there is to know of any network. */
#include "backend/docker/reach.h"
#include "base/list.h"
#include "http/uri.h"

void network_facts_clear(struct network_facts *facts)
{
    free(facts->id);
    free(facts->gateway);
    free(facts->bridge);
    *facts = (struct network_facts){ 0 };
}

/* A bridge network's interface is named in its options or after its id. */
static char *bridge_interface(const json_t *network)
{
    const char *driver = json_text(network, "Driver"), *id = json_text(network, "Id");
    const char *named = json_text(json_object_get(network, "Options"), "com.docker.network.bridge.name");

    if (!driver || strcmp(driver, "bridge") != 0)
        return NULL;
    if (named)
        return xstrdup(named);
    return id ? xasprintf("br-%.12s", id) : NULL;
}

static bool is_ipv4(const char *address)
{
    return address && strspn(address, "0123456789.") == strlen(address);
}

static void read_facts(const json_t *network, struct network_facts *facts)
{
    const char *id = json_text(network, "Id");
    const json_t *configs = json_object_get(json_object_get(network, "IPAM"), "Config");
    const json_t *config;
    size_t index;

    *facts = (struct network_facts){ .id = id ? xstrdup(id) : NULL, .bridge = bridge_interface(network),
                                     .managed = managed_by_us(json_text(json_object_get(network, "Labels"), LABEL_MANAGED_BY)) };
    json_array_foreach(configs, index, config) {
        const char *gateway = json_text(config, "Gateway");

        if (is_ipv4(gateway) && !facts->gateway)
            facts->gateway = xstrdup(gateway);
    }
}

int network_inspect(struct engine *engine, const char *name, struct network_facts *facts, struct error *err)
{
    cleanup_buf struct buf path = { 0 };
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_NETWORK_INSPECT, .method = "GET" };

    buf_append_text(&path, "/networks/");
    uri_encode(&path, str_from(name));
    buf_append(&path, "", 1);
    request.path = path.data;
    if (engine_call(engine, &request, &answer, err) < 0)
        return error_wrap(err, "network '%s'", name);
    read_facts(answer.json, facts);
    return 0;
}

/* --- the managed one ----------------------------------------------------------------------------------------- */

static int create_managed(struct engine *engine, struct error *err)
{
    cleanup_json json_t *body = json_pack("{s:s, s:b, s:s, s:{s:s}, s:{s:s}}", "Name", MANAGED_NETWORK, "CheckDuplicate", 1,
        "Driver", "bridge", "Labels", LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE,
        "Options", "com.docker.network.bridge.enable_icc", "false");
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_NETWORK_CREATE, .method = "POST", .path = "/networks/create", .body = body };

    return engine_call(engine, &request, &answer, err);
}

static void remove_network(struct engine *engine, const char *id)
{
    cleanup_free char *path = xasprintf("/networks/%s", id);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_NETWORK_REMOVE, .method = "DELETE", .path = path };
    struct error ignored;

    (void)!engine_call(engine, &request, &answer, &ignored);
}

/* All networks named exactly so; the engine's own filter finds parts of names. Names are not unique on an engine. The caller owns the array. */
static int list_named(struct engine *engine, json_t **networks, struct error *err)
{
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_NETWORK_LIST, .method = "GET",
                                      .path = "/networks?filters=%7B%22name%22%3A%5B%22" MANAGED_NETWORK "%22%5D%7D" };
    const json_t *network;
    size_t index;

    if (engine_call(engine, &request, &answer, err) < 0)
        return -1;
    *networks = json_array();
    json_array_foreach(answer.json, index, network) {
        const char *name = json_text(network, "Name");

        if (name && strcmp(name, MANAGED_NETWORK) == 0)
            json_array_append(*networks, (json_t *)network);
    }
    return 0;
}

static const json_t *oldest_of(const json_t *networks)
{
    const json_t *oldest = NULL, *network;
    size_t index;

    json_array_foreach(networks, index, network) {
        const char *created = json_text(network, "Created");
        const char *before = oldest ? json_text(oldest, "Created") : NULL;

        if (!oldest || (created && before && strcmp(created, before) < 0))
            oldest = network;
    }
    return oldest;
}

/* Two of us made it at the same moment: the older one stays. The engine refuses to remove a network with containers, so nothing is torn down. */
static void remove_doubles(struct engine *engine, const json_t *networks, const json_t *keep)
{
    const json_t *network;
    size_t index;

    json_array_foreach(networks, index, network) {
        cleanup_free char *id = xstrdup(json_text(network, "Id") ? json_text(network, "Id") : "");
        struct network_facts facts;

        read_facts(network, &facts);
        if (network != keep && facts.managed && *id)
            remove_network(engine, id);
        network_facts_clear(&facts);
    }
}

static int find_managed(struct engine *engine, struct network_facts *facts, struct error *err)
{
    cleanup_json json_t *networks = NULL;
    const json_t *network;

    if (list_named(engine, &networks, err) < 0)
        return -1;
    network = oldest_of(networks);
    if (!network)
        return error_set(err, ERR_NOT_FOUND, "there is no network '" MANAGED_NETWORK "'");
    if (json_array_size(networks) > 1)
        remove_doubles(engine, networks, network);
    read_facts(network, facts);
    if (facts->managed && facts->id)
        return 0;
    network_facts_clear(facts);
    return error_set(err, ERR_CONFLICT, "the Docker network '" MANAGED_NETWORK "' exists and was not made by this program: remove it, or use it by "
                     "TERMINALS_DOCKER_NETWORK=" MANAGED_NETWORK);
}

int network_ensure_managed(struct engine *engine, struct network_facts *facts, struct error *err)
{
    if (find_managed(engine, facts, err) == 0)
        return 0;
    if (err->class != ERR_NOT_FOUND)
        return -1;
    if (create_managed(engine, err) < 0 && err->class != ERR_CONFLICT)
        return error_wrap(err, "making the network '" MANAGED_NETWORK "'");
    return find_managed(engine, facts, err);
}

int network_join(struct engine *engine, const char *network_id, const char *container_id, struct error *err)
{
    cleanup_free char *path = xasprintf("/networks/%s/connect", network_id);
    cleanup_json json_t *body = json_pack("{s:s}", "Container", container_id);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_NETWORK_CONNECT, .method = "POST", .path = path, .body = body };

    if (engine_call(engine, &request, &answer, err) == 0 || strstr(err->text, "already exists") || strstr(err->text, "already attached"))
        return 0;
    return error_wrap(err, "joining our own container to the network '" MANAGED_NETWORK "'");
}
