/* `terminals doctor` for Kubernetes: each thing that terminals need, whether it is there, and what to do when it is not. Makes nothing. */
#include "backend/kubernetes/parts.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "kubernetes/access.h"

#define CONNECT_MS 3000

struct checkup {
    struct kubernetes *k;
    check_report_fn *report;
    void *context;
};

static void report(const struct checkup *checkup, bool ok, const char *what, const char *detail, const char *fix)
{
    struct check_result result = { .ok = ok, .what = what, .detail = detail, .fix = ok ? NULL : fix };

    checkup->report(checkup->context, &result);
}

/* --- the API server ------------------------------------------------------------------------------------------ */

static bool check_server(const struct checkup *checkup)
{
    struct error err = { 0 };
    cleanup_free char *detail = kube_describe_server(checkup->k->client, &err);

    report(checkup, detail != NULL, "Kubernetes API", detail ? detail : err.text, err.class == ERR_FORBIDDEN
           ? "renew the credentials of the kubeconfig (kubectl get pods must work with it), or the service account of this pod"
           : "start the cluster, or name a kubeconfig that reaches it in TERMINALS_KUBERNETES_KUBECONFIG or KUBECONFIG");
    return detail != NULL;
}

static void check_namespace(const struct checkup *checkup)
{
    struct kubernetes *k = checkup->k;
    cleanup_json json_t *namespace = NULL;
    struct error err;

    if (kube_get(k->client, &KUBE_NAMESPACES, NULL, k->namespace, &namespace, &err) == 0) {
        report(checkup, !kube_is_deleting(namespace), "namespace", kube_is_deleting(namespace) ? "it is being deleted" : k->namespace,
               "wait until it is gone, then make it again");
        return;
    }
    cleanup_free char *detail = xasprintf("%s: %s", k->namespace, err.text);
    cleanup_free char *fix = xasprintf("kubectl create namespace %s, or name another in TERMINALS_KUBERNETES_NAMESPACE", k->namespace);
    if (err.class == ERR_FORBIDDEN)     /* a Role does not reach the namespace itself */
        report(checkup, true, "namespace", "whether it is there may not be looked at; see the permissions", NULL);
    else
        report(checkup, false, "namespace", detail, fix);
}

/* --- permissions --------------------------------------------------------------------------------------------- */

static const struct kube_need needs[] = {
    { &KUBE_PODS, NULL, "get,list,watch,create,patch,delete" },
    { &KUBE_PODS, "log", "get" },
    { &KUBE_SECRETS, NULL, "get,list,watch,create,patch,delete" },
    { &KUBE_SERVICES, NULL, "get,list,watch,create,delete" },
    { &KUBE_PVCS, NULL, "get,create,patch,delete" },
    { &KUBE_EVENTS, NULL, "list" },
    { &KUBE_NETWORK_POLICIES, NULL, "get,create,patch,delete" },
};

static void check_permissions(const struct checkup *checkup)
{
    cleanup_buf struct buf missing = { 0 };
    unsigned asked = 0;
    struct error err;

    for (size_t i = 0; i < COUNT_OF(needs); i++) {
        if (needs[i].resource == &KUBE_NETWORK_POLICIES && !checkup->k->settings->kubernetes_network_policy)
            continue;
        if (kube_missing_rights(checkup->k->client, checkup->k->namespace, &needs[i], &missing, &asked, &err) < 0) {
            report(checkup, false, "permissions", err.text, "let this account create SelfSubjectAccessReviews (every authenticated one may by default)");
            return;
        }
    }
    cleanup_free char *detail = missing.len ? xasprintf("may not: %.*s", STR_ARG(buf_str(&missing))) : xasprintf("all %u that are needed", asked);
    cleanup_free char *fix = xasprintf("bind this account to a Role in the namespace %s that allows them, as the Helm chart's and deploy/kubernetes/orchestrator.yaml's do",
                                       checkup->k->namespace);
    report(checkup, missing.len == 0, "permissions", detail, fix);
}

/* --- storage ------------------------------------------------------------------------------------------------- */

static bool note_default(void *context, const json_t *class)
{
    char **name = context;
    const char *mark = kube_annotation(class, "storageclass.kubernetes.io/is-default-class");

    if (mark && strcmp(mark, "true") == 0 && !*name)
        *name = xstrdup(kube_name(class));
    return !*name;
}

static void check_default_class(const struct checkup *checkup)
{
    cleanup_free char *name = NULL;
    char version[64];
    struct error err;

    if (kube_list(checkup->k->client, &KUBE_STORAGE_CLASSES, NULL, NULL, note_default, &name, version, &err) < 0) {
        report(checkup, err.class == ERR_FORBIDDEN, "storage class",
               err.class == ERR_FORBIDDEN ? "the cluster's default, which may not be looked at" : err.text, "see the message");
        return;
    }
    cleanup_free char *detail = name ? xasprintf("%s, the cluster's default", name) : xstrdup("none is named, and the cluster has no default one");
    report(checkup, name != NULL, "storage class", detail, "name one in TERMINALS_KUBERNETES_STORAGE_CLASS (kubectl get storageclass lists them)");
}

static void check_class(const struct checkup *checkup)
{
    const char *name = checkup->k->settings->kubernetes_storage_class;
    struct error err;

    if (!name) {
        check_default_class(checkup);
    } else if (kube_get(checkup->k->client, &KUBE_STORAGE_CLASSES, NULL, name, NULL, &err) == 0) {
        report(checkup, true, "storage class", name, NULL);
    } else if (err.class == ERR_FORBIDDEN) {
        cleanup_free char *detail = xasprintf("%s, which may not be looked at", name);
        report(checkup, true, "storage class", detail, NULL);
    } else {
        report(checkup, false, "storage class", err.text, "correct TERMINALS_KUBERNETES_STORAGE_CLASS (kubectl get storageclass lists them)");
    }
}

/* --- reaching guests ----------------------------------------------------------------------------------------- */

struct sample {
    char ip[64], name[OBJECT_NAME_SIZE];
};

static bool note_ready(void *context, const json_t *pod)
{
    struct sample *sample = context;
    struct pod_state state;

    pod_state_read(pod, true, &state);
    if (state.phase != OBSERVED_RUNNING || !state.ready || kube_label(pod, LABEL_WIPE))
        return true;
    (void)snprintf(sample->ip, sizeof(sample->ip), "%s", state.ip);
    (void)snprintf(sample->name, sizeof(sample->name), "%s", kube_name(pod));
    return false;
}

/* 0, or the errno. */
static int try_connect(const char *ip)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *address = NULL;
    int number = 0;
    socklen_t len = sizeof(number);

    if (getaddrinfo(ip, "8000", &hints, &address) != 0)
        return EINVAL;
    cleanup_fd int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = fd < 0 ? errno : connect(fd, address->ai_addr, address->ai_addrlen) < 0 ? errno : 0;
    freeaddrinfo(address);
    if (result != EINPROGRESS)
        return result;
    if (poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, CONNECT_MS) <= 0)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) < 0 ? errno : number;
}

static void service_address(struct kubernetes *k, struct sample *sample)
{
    cleanup_json json_t *service = NULL;

    if (kube_get(k->client, &KUBE_SERVICES, k->namespace, sample->name, &service, NULL) == 0 && kube_text_at(service, "spec", "clusterIP", NULL))
        (void)snprintf(sample->ip, sizeof(sample->ip), "%s", kube_text_at(service, "spec", "clusterIP", NULL));
}

static void check_reach(const struct checkup *checkup)
{
    struct kubernetes *k = checkup->k;
    bool by_service = strcmp(k->settings->kubernetes_address, "service") == 0;
    struct sample sample = { 0 };
    char version[64];
    struct error err;

    if (kube_list(k->client, &KUBE_PODS, k->namespace, SELECTOR, note_ready, &sample, version, &err) < 0) {
        report(checkup, false, "reaching guests", err.text, "see the permissions");
        return;
    }
    if (!sample.name[0]) {
        report(checkup, true, "reaching guests", by_service ? "no terminal is ready, so no Service could be tried" : "no terminal is ready, so no pod could be tried", NULL);
        return;
    }
    if (by_service)
        service_address(k, &sample);
    int number = try_connect(sample.ip);
    cleanup_free char *detail = xasprintf("%s at %s:%d%s%s", sample.name, sample.ip, GUEST_PORT, number ? ": " : "", number ? strerror(number) : "");
    report(checkup, number == 0, "reaching guests", detail,
           "run the orchestrator in the cluster, or route the cluster's pod network to this machine (with TERMINALS_KUBERNETES_ADDRESS=service that of its Services); "
           "see that no NetworkPolicy other than ours keeps it out");
}

static void check_policy(const struct checkup *checkup)
{
    struct kubernetes *k = checkup->k;
    struct error err;

    if (!k->settings->kubernetes_network_policy)
        report(checkup, true, "network policy", "switched off: guests reach the API server, metadata services and each other", NULL);
    else if (kube_get(k->client, &KUBE_NETWORK_POLICIES, k->namespace, network_policy_name, NULL, &err) == 0)
        report(checkup, true, "network policy", "in place; that the cluster's network enforces it cannot be seen from here", NULL);
    else if (err.class == ERR_NOT_FOUND)
        report(checkup, true, "network policy", "not there yet; it is made when the service starts", NULL);
    else
        report(checkup, false, "network policy", err.text, "allow it in the Role, or set TERMINALS_KUBERNETES_NETWORK_POLICY=false and fence guests in by other means");
}

void kubernetes_check(struct kubernetes *k, check_report_fn *report_fn, void *context)
{
    struct checkup checkup = { k, report_fn, context };

    if (!check_server(&checkup))
        return;
    check_namespace(&checkup);
    check_permissions(&checkup);
    check_class(&checkup);
    check_policy(&checkup);
    check_reach(&checkup);
}
