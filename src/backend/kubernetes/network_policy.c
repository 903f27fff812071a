/* One NetworkPolicy for all guests of the namespace. Into a guest comes only the orchestrator, and only to port 8000. Out of it goes everything but link-local
 * addresses (the clouds' metadata services), the API server, and, because of the first rule, other guests. Name resolution is always allowed.
 *
 * An empty list of peers lets in everybody, and a missing address lets guests out to it: what is not known for the moment must not weaken a policy that is there. */
#include <arpa/inet.h>
#include <netdb.h>

#include "backend/kubernetes/parts.h"
#include "base/log.h"

#define MANAGER "terminals"

const char network_policy_name[] = "terminals-guests";

/* --- the body ------------------------------------------------------------------------------------------------ */

static bool is_six(const char *cidr)
{
    return strchr(cidr, ':') != NULL;
}

static json_t *everything_but(const char *everything, const char *link_local, const json_t *denied)
{
    json_t *except = json_pack("[s]", link_local);
    const json_t *cidr;
    size_t i;

    json_array_foreach(denied, i, cidr)
        if (is_six(json_string_value(cidr)) == is_six(everything))
            json_array_append(except, (json_t *)cidr);
    return json_pack("{s:{s:s, s:o}}", "ipBlock", "cidr", everything, "except", except);
}

static json_t *egress(const json_t *denied)
{
    json_t *names = json_pack("{s:[{s:s, s:i}, {s:s, s:i}]}", "ports", "protocol", "UDP", "port", 53, "protocol", "TCP", "port", 53);
    json_t *world = json_pack("{s:[o, o]}", "to", everything_but("0.0.0.0/0", "169.254.0.0/16", denied), everything_but("::/0", "fe80::/10", denied));

    return json_pack("[o, o]", names, world);
}

json_t *network_policy_body(const char *namespace, const json_t *orchestrators, const json_t *denied)
{
    json_t *labels = json_pack("{s:s, s:s}", LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE, LABEL_PART_OF, LABEL_PART_OF_VALUE);
    json_t *spec = json_pack("{s:{s:O}, s:[s], s:o}", "podSelector", "matchLabels", labels, "policyTypes", "Egress", "egress", egress(denied));

    if (json_array_size(orchestrators) > 0) {
        json_array_insert_new(json_object_get(spec, "policyTypes"), 0, json_string("Ingress"));
        json_object_set_new(spec, "ingress", json_pack("[{s:O, s:[{s:s, s:i}]}]", "from", orchestrators, "ports", "protocol", "TCP", "port", GUEST_PORT));
    }
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o}, s:o}", "apiVersion", "networking.k8s.io/v1", "kind", "NetworkPolicy",
                     "metadata", "name", network_policy_name, "namespace", namespace, "labels", labels, "spec", spec);
}

/* --- what it is made of -------------------------------------------------------------------------------------- */

struct facts {
    json_t *orchestrators, *denied;     /* owned */
    struct error missing;               /* what a passing fault hides for now; ERR_NONE: nothing */
};

/* Whether a call says that something is not there for us, and not only that it cannot be read just now. */
static bool is_lasting(const struct error *err)
{
    return err->class == ERR_NOT_FOUND || err->class == ERR_FORBIDDEN;
}

/* --- who we are ---------------------------------------------------------------------------------------------- */

/* The namespace of the pod that we run in; NULL: in none. The caller frees. */
static char *own_namespace(void)
{
    cleanup_file FILE *file = getenv("KUBERNETES_SERVICE_HOST") ? fopen("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "re") : NULL;
    char text[128];

    if (!file || !fgets(text, sizeof(text), file))
        return NULL;
    struct str trimmed = str_trim(str_from(text));
    return trimmed.len ? str_dup(trimmed) : NULL;
}

/* Those labels of our own pod that stay from one version to the next. */
static json_t *lasting_labels(const json_t *pod)
{
    static const char *const lasting[] = { "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "app" };
    json_t *labels = json_object();

    for (size_t i = 0; i < COUNT_OF(lasting); i++)
        if (kube_label(pod, lasting[i]))
            json_object_set_new(labels, lasting[i], json_string(kube_label(pod, lasting[i])));
    if (json_object_size(labels) == 0)
        json_object_set_new(labels, "app.kubernetes.io/name", json_string("terminals"));
    return labels;
}

static void add_own_pod(struct kubernetes *k, const char *namespace, struct facts *facts)
{
    const char *given = getenv("POD_NAME");
    char host[256] = "";
    cleanup_json json_t *pod = NULL;
    struct error err;

    (void)gethostname(host, sizeof(host) - 1);
    if (kube_get(k->client, &KUBE_PODS, namespace, given && *given ? given : host, &pod, &err) < 0) {
        if (!is_lasting(&err)) {
            (void)error_wrap(&err, "our own pod's labels");
            facts->missing = err;
            return;
        }
        log_debug("our own pod cannot be read", LOG_ERR(&err));
    }
    json_array_append_new(facts->orchestrators,
                          json_pack("{s:{s:{s:s}}, s:{s:o}}", "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name", namespace,
                                    "podSelector", "matchLabels", lasting_labels(pod)));
}

/* --- addresses ----------------------------------------------------------------------------------------------- */

static void add_cidr(json_t *list, const char *address)
{
    const json_t *known;
    size_t i;

    if (!address || !*address)
        return;
    cleanup_free char *cidr = xasprintf("%s/%d", address, is_six(address) ? 128 : 32);
    json_array_foreach(list, i, known)
        if (strcmp(json_string_value(known), cidr) == 0)
            return;
    json_array_append_new(list, json_string(cidr));
}

static bool address_text(const struct sockaddr *address, socklen_t len, char text[static 64])
{
    return getnameinfo(address, len, text, 64, NULL, 0, NI_NUMERICHOST) == 0 && !strchr(text, '%');
}

/* The API server's host, resolved. The caller frees with freeaddrinfo(); NULL when that fails. */
static struct addrinfo *resolve_server(const struct kubernetes *k, struct facts *facts)
{
    const char *server = kube_config_server(kube_client_config(k->client)), *host = strstr(server, "://");
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM }, *found = NULL;

    host = host ? host + 3 : server;
    size_t len = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":/");
    cleanup_free char *name = xstrndup(host, len);
    int failed = getaddrinfo(name, "443", &hints, &found);
    if (failed)
        (void)error_set(&facts->missing, ERR_UNAVAILABLE, "the addresses of the API server: its name '%s' is not resolved here (%s); let it be, or run in a pod",
                        name, gai_strerror(failed));
    return failed ? NULL : found;
}

/* The address that we have on the way to the cluster; false when there is no way. */
static bool add_own_address(json_t *peers, const struct addrinfo *server)
{
    cleanup_fd int fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    char text[64];

    if (fd < 0 || connect(fd, server->ai_addr, server->ai_addrlen) < 0 || getsockname(fd, (struct sockaddr *)&own, &len) < 0 ||
        !address_text((struct sockaddr *)&own, len, text))
        return false;
    json_array_append_new(peers, json_pack("{s:{s:o}}", "ipBlock", "cidr", json_sprintf("%s/%d", text, is_six(text) ? 128 : 32)));
    return true;
}

/* Outside a pod. A server has addresses of families to which we have no way. */
static void add_own_host(const struct addrinfo *server, struct facts *facts)
{
    const struct addrinfo *address = server;

    while (address && !add_own_address(facts->orchestrators, address))
        address = address->ai_next;
    if (server && !address)
        (void)error_set(&facts->missing, ERR_UNAVAILABLE, "our own address on the way to the cluster: no address of the API server can be reached from here");
}

static void add_endpoints(struct kubernetes *k, struct facts *facts)
{
    cleanup_json json_t *endpoints = NULL;
    const json_t *subset, *address;
    size_t i, j;
    struct error err;

    if (kube_get_path(k->client, "/api/v1/namespaces/default/endpoints/kubernetes", &endpoints, &err) < 0) {
        log_debug("the API server's own addresses cannot be read", LOG_ERR(&err));
        if (!is_lasting(&err)) {
            (void)error_wrap(&err, "the API server's own addresses");
            facts->missing = err;
        }
        return;
    }
    json_array_foreach(json_object_get(endpoints, "subsets"), i, subset)
        json_array_foreach(json_object_get(subset, "addresses"), j, address)
            add_cidr(facts->denied, json_text(address, "ip"));
}

static void add_server_addresses(struct kubernetes *k, const struct addrinfo *server, struct facts *facts)
{
    char text[64];

    for (; server; server = server->ai_next)
        if (address_text(server->ai_addr, server->ai_addrlen, text))
            add_cidr(facts->denied, text);
    add_cidr(facts->denied, getenv("KUBERNETES_SERVICE_HOST"));
    add_endpoints(k, facts);
}

static void collect_facts(struct kubernetes *k, struct facts *facts)
{
    *facts = (struct facts){ .orchestrators = json_array(), .denied = json_array() };
    struct addrinfo *server = resolve_server(k, facts);
    cleanup_free char *namespace = own_namespace();

    add_server_addresses(k, server, facts);
    if (namespace)
        add_own_pod(k, namespace, facts);
    else
        add_own_host(server, facts);
    if (server)
        freeaddrinfo(server);
}

/* --- applying ------------------------------------------------------------------------------------------------ */

static void remove_policy(struct kubernetes *k)
{
    cleanup_json json_t *policy = NULL;
    struct error err;

    if (kube_get(k->client, &KUBE_NETWORK_POLICIES, k->namespace, network_policy_name, &policy, &err) < 0)
        return;
    struct kube_delete_options options = { .uid = kube_uid(policy), .grace_s = -1 };
    if (!managed_by_us(kube_label(policy, LABEL_MANAGED_BY)))
        return;
    if (kube_delete(k->client, &KUBE_NETWORK_POLICIES, k->namespace, network_policy_name, &options, &err) < 0 && err.class != ERR_NOT_FOUND)
        log_warning("the NetworkPolicy is switched off, but cannot be removed", LOG_STR("name", network_policy_name), LOG_ERR(&err));
}

static void warn_not_fenced(const struct error *err)
{
    log_warning("guests are not fenced in: the NetworkPolicy could not be put in place", LOG_STR("name", network_policy_name), LOG_ERR(err));
}

/* What is known is better than nothing, but not than what is there: made only if there is none. Without a peer it says nothing about who may come in, since a
 * rule that lets in nobody keeps ourselves out. */
static void apply_part(struct kubernetes *k, const json_t *body, const struct facts *facts)
{
    bool first = !k->network_policy_is_unsure;
    struct error err;

    if (first)
        log_warning("not all is known that the NetworkPolicy is made of: one that is there stays as it is until then", LOG_STR("name", network_policy_name),
                    LOG_ERR(&facts->missing));
    k->network_policy_is_unsure = true;
    if (kube_create(k->client, &KUBE_NETWORK_POLICIES, k->namespace, body, NULL, &err) < 0 && err.class != ERR_CONFLICT && first)
        warn_not_fenced(&err);
}

static void apply_whole(struct kubernetes *k, const json_t *body)
{
    struct error err;

    k->network_policy_is_unsure = false;
    if (kube_apply(k->client, &KUBE_NETWORK_POLICIES, k->namespace, body, NULL, MANAGER, true, NULL, &err) < 0)
        warn_not_fenced(&err);
}

bool network_policy_apply(struct kubernetes *k)
{
    struct facts facts;

    if (!k->settings->kubernetes_network_policy) {
        remove_policy(k);
        return true;
    }
    collect_facts(k, &facts);
    cleanup_json json_t *body = network_policy_body(k->namespace, facts.orchestrators, facts.denied);
    bool whole = facts.missing.class == ERR_NONE;
    if (whole)
        apply_whole(k, body);
    else
        apply_part(k, body, &facts);
    json_decref(facts.orchestrators);
    json_decref(facts.denied);
    return whole;
}
