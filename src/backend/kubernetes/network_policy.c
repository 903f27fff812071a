/* One NetworkPolicy for all guests of the namespace. Into a guest comes only the orchestrator, and only to port 8000. Out of it goes everything but link-local
 * addresses (the clouds' metadata services), the API server, and, because of the first rule, other guests. Name resolution is always allowed. */
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
    json_t *ingress = json_pack("[{s:O, s:[{s:s, s:i}]}]", "from", orchestrators, "ports", "protocol", "TCP", "port", GUEST_PORT);

    return json_pack("{s:s, s:s, s:{s:s, s:s, s:O}, s:{s:{s:o}, s:[s, s], s:o, s:o}}", "apiVersion", "networking.k8s.io/v1", "kind", "NetworkPolicy",
                     "metadata", "name", network_policy_name, "namespace", namespace, "labels", labels,
                     "spec", "podSelector", "matchLabels", labels, "policyTypes", "Ingress", "Egress", "ingress", ingress, "egress", egress(denied));
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

static json_t *pod_peer(struct kubernetes *k, const char *namespace)
{
    const char *given = getenv("POD_NAME");
    char host[256] = "";
    cleanup_json json_t *pod = NULL;
    struct error err;

    (void)gethostname(host, sizeof(host) - 1);
    if (kube_get(k->client, &KUBE_PODS, namespace, given && *given ? given : host, &pod, &err) < 0)
        log_debug("our own pod cannot be read", LOG_ERR(&err));
    return json_pack("{s:{s:{s:s}}, s:{s:o}}", "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name", namespace,
                     "podSelector", "matchLabels", lasting_labels(pod));
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
static struct addrinfo *resolve_server(const struct kubernetes *k)
{
    const char *server = kube_config_server(kube_client_config(k->client)), *host = strstr(server, "://");
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM }, *found = NULL;

    host = host ? host + 3 : server;
    size_t len = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":/");
    cleanup_free char *name = xstrndup(host, len);
    return getaddrinfo(name, "443", &hints, &found) == 0 ? found : NULL;
}

/* The address that we have on the way to the cluster. */
static void add_own_address(json_t *peers, const struct addrinfo *server)
{
    cleanup_fd int fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    char text[64];

    if (fd < 0 || connect(fd, server->ai_addr, server->ai_addrlen) < 0 || getsockname(fd, (struct sockaddr *)&own, &len) < 0 ||
        !address_text((struct sockaddr *)&own, len, text))
        return;
    json_array_append_new(peers, json_pack("{s:{s:o}}", "ipBlock", "cidr", json_sprintf("%s/%d", text, is_six(text) ? 128 : 32)));
}

static void add_endpoints(struct kubernetes *k, json_t *denied)
{
    cleanup_json json_t *endpoints = NULL;
    const json_t *subset, *address;
    size_t i, j;
    struct error err;

    if (kube_get_path(k->client, "/api/v1/namespaces/default/endpoints/kubernetes", &endpoints, &err) < 0) {
        log_debug("the API server's own addresses cannot be read", LOG_ERR(&err));
        return;
    }
    json_array_foreach(json_object_get(endpoints, "subsets"), i, subset)
        json_array_foreach(json_object_get(subset, "addresses"), j, address)
            add_cidr(denied, json_text(address, "ip"));
}

static json_t *server_addresses(struct kubernetes *k, const struct addrinfo *server)
{
    json_t *denied = json_array();
    char text[64];

    for (; server; server = server->ai_next)
        if (address_text(server->ai_addr, server->ai_addrlen, text))
            add_cidr(denied, text);
    add_cidr(denied, getenv("KUBERNETES_SERVICE_HOST"));
    add_endpoints(k, denied);
    return denied;
}

/* --- applying ------------------------------------------------------------------------------------------------ */

static void remove_policy(struct kubernetes *k)
{
    cleanup_json json_t *policy = NULL;
    struct error err;

    if (kube_get(k->client, &KUBE_NETWORK_POLICIES, k->namespace, network_policy_name, &policy, &err) < 0)
        return;
    const char *managed = kube_label(policy, LABEL_MANAGED_BY);
    struct kube_delete_options options = { .uid = kube_uid(policy), .grace_s = -1 };
    if (!managed || strcmp(managed, LABEL_MANAGED_BY_VALUE) != 0)
        return;
    if (kube_delete(k->client, &KUBE_NETWORK_POLICIES, k->namespace, network_policy_name, &options, &err) < 0 && err.class != ERR_NOT_FOUND)
        log_warning("the NetworkPolicy is switched off, but cannot be removed", LOG_STR("name", network_policy_name), LOG_ERR(&err));
}

void network_policy_apply(struct kubernetes *k)
{
    if (!k->settings->kubernetes_network_policy) {
        remove_policy(k);
        return;
    }
    struct addrinfo *server = resolve_server(k);
    cleanup_free char *namespace = own_namespace();
    cleanup_json json_t *orchestrators = json_array(), *denied = server_addresses(k, server);
    struct error err;

    if (namespace)
        json_array_append_new(orchestrators, pod_peer(k, namespace));
    else if (server)
        add_own_address(orchestrators, server);
    if (server)
        freeaddrinfo(server);
    cleanup_json json_t *body = network_policy_body(k->namespace, orchestrators, denied);
    if (kube_apply(k->client, &KUBE_NETWORK_POLICIES, k->namespace, body, NULL, MANAGER, true, NULL, &err) < 0)
        log_warning("guests are not fenced in: the NetworkPolicy could not be put in place", LOG_STR("name", network_policy_name), LOG_ERR(&err));
}
