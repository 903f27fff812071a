/* `terminals doctor` for the operator backend: the API, the resource's definition, what we may do, and whether an operator lives. Makes nothing. */
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "kubernetes/access.h"

enum { LEASE_FRESH_S = 30 };

struct checkup {
    struct resource *resource;
    check_report_fn *report;
    void *context;
};

static void report(const struct checkup *checkup, bool ok, const char *what, const char *detail, const char *fix)
{
    struct check_result result = { .ok = ok, .what = what, .detail = detail, .fix = ok ? NULL : fix };

    checkup->report(checkup->context, &result);
}

static bool check_server(const struct checkup *checkup)
{
    struct error err = { 0 };
    cleanup_free char *detail = kube_describe_server(checkup->resource->client, &err);

    report(checkup, detail != NULL, "Kubernetes API", detail ? detail : err.text, "start the cluster, or name a kubeconfig that reaches it in "
           "TERMINALS_KUBERNETES_KUBECONFIG or KUBECONFIG; when credentials are refused, renew them");
    return detail != NULL;
}

/* --- the definition --- */

static const json_t *served_version(const json_t *crd, const char *wanted)
{
    const json_t *versions = kube_at(crd, "spec", "versions", NULL), *version;
    size_t index;

    json_array_foreach(versions, index, version) {
        const char *name = json_text(version, "name");
        if (name && strcmp(name, wanted) == 0 && json_is_true(json_object_get(version, "served")))
            return version;
    }
    return NULL;
}

/* The original's definition lacks fields of ours, which the API server then drops. */
static bool is_current(const json_t *version)
{
    const json_t *properties = kube_at(version, "schema", "openAPIV3Schema", "properties", NULL);

    return kube_at(properties, "spec", "properties", "policyId", NULL) && kube_at(properties, "spec", "properties", "storageMode", NULL) &&
           kube_at(properties, "status", "properties", "lastReset", NULL) && kube_at(version, "subresources", "status", NULL);
}

static bool no_more(void *context, const json_t *object)
{
    (void)context;
    (void)object;
    return false;
}

static bool may_list(const struct checkup *checkup, struct error *err)
{
    struct resource *resource = checkup->resource;
    char version[64];

    return kube_list(resource->client, &resource->terminals, resource->namespace, NULL, no_more, NULL, version, err) == 0;
}

static void check_definition(const struct checkup *checkup)
{
    static const char fix[] = "install it: kubectl apply -f deploy/kubernetes/crd.yaml (group and version are TERMINALS_KUBERNETES_CRD_GROUP, _VERSION)";
    const struct kube_resource *terminals = &checkup->resource->terminals;
    cleanup_free char *name = xasprintf("%s.%s", terminals->plural, terminals->group);
    cleanup_json json_t *crd = NULL;
    struct error err;

    if (kube_get(checkup->resource->client, &KUBE_CRDS, NULL, name, &crd, &err) < 0) {
        bool hidden = err.class == ERR_FORBIDDEN;
        report(checkup, hidden, "Terminal resource", hidden ? "the definition may not be looked at; see the permissions" : err.text, fix);
        return;
    }
    const json_t *version = served_version(crd, terminals->version);
    cleanup_free char *detail = xasprintf("%s, version %s%s", name, terminals->version,
        !version ? " is not served" : is_current(version) ? "" : " is older than this program: fields would be lost");
    report(checkup, version && is_current(version), "Terminal resource", detail, fix);
}

/* --- permissions --- */

static void check_permissions(const struct checkup *checkup)
{
    struct resource *resource = checkup->resource;
    const struct kube_need needs[] = {
        { &resource->terminals, NULL, "get,list,watch,create,update,patch" }, { &resource->terminals, "status", "patch" },
        { &KUBE_PODS, NULL, "list,watch" }, { &KUBE_PODS, "log", "get" }, { &KUBE_SECRETS, NULL, "get" },
        { &KUBE_PVCS, NULL, "get" }, { &KUBE_SERVICES, NULL, "list,watch" },
    };
    cleanup_buf struct buf missing = { 0 };
    unsigned asked = 0;
    struct error err;

    for (size_t i = 0; i < COUNT_OF(needs); i++) {
        if (needs[i].resource == &KUBE_SERVICES && !resource->by_service)
            continue;
        if (kube_missing_rights(resource->client, resource->namespace, &needs[i], &missing, &asked, &err) < 0)
            return report(checkup, false, "permissions", err.text, "allow SelfSubjectAccessReviews, or check with kubectl auth can-i --list");
    }
    cleanup_free char *detail = missing.len ? xasprintf("missing in %s: %.*s", resource->namespace, STR_ARG(buf_str(&missing))) :
                                              xasprintf("all that is needed, in %s", resource->namespace);
    report(checkup, missing.len == 0, "permissions", detail, "apply the orchestrator's Role and RoleBinding (deploy/kubernetes/orchestrator.yaml)");
}

/* --- the operator --- */

static void check_operator(const struct checkup *checkup)
{
    static const char fix[] = "start `terminals operator` (deploy/kubernetes/operator.yaml), and look at its log";
    struct resource *resource = checkup->resource;
    cleanup_json json_t *lease = NULL;
    int64_t renewed_us = 0;
    struct error err;

    if (kube_get(resource->client, &KUBE_LEASES, resource->namespace, OPERATOR_LEASE_NAME, &lease, &err) < 0) {
        bool hidden = err.class == ERR_FORBIDDEN;
        report(checkup, hidden, "operator", hidden ? "whether it runs may not be looked at (its Lease)" :
               "no operator of this program has ever run here; the original leaves no trace", fix);
        return;
    }
    const char *text = kube_text_at(lease, "spec", "renewTime", NULL), *holder = kube_text_at(lease, "spec", "holderIdentity", NULL);
    int64_t age_s = text && clock_parse_iso(text, &renewed_us) ? (clock_wall_us() - renewed_us) / 1000000 : INT64_MAX;
    bool alive = holder && *holder && age_s < LEASE_FRESH_S;
    cleanup_free char *detail = alive ? xasprintf("%s leads", holder) : xasprintf("none runs: the lease was last renewed at %s", text ? text : "?");
    report(checkup, alive, "operator", detail, fix);
}

void resource_check(struct resource *resource, check_report_fn *report_fn, void *context)
{
    struct checkup checkup = { resource, report_fn, context };
    struct error err;

    if (!check_server(&checkup))
        return;
    check_definition(&checkup);
    check_permissions(&checkup);
    bool listed = may_list(&checkup, &err);
    report(&checkup, listed, "listing Terminals", listed ? "works" : err.text, "see the lines above");
    check_operator(&checkup);
}
