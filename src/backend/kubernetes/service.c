/* The Service of a terminal: a stable address for who wants one. We ourselves need it only with TERMINALS_KUBERNETES_ADDRESS=service. */
#include "backend/kubernetes/parts.h"

#define ATTEMPTS 5

/* By the terminal's own name: labels of ids may be hashes, and a hash may be somebody's id. */
static json_t *selector_of(const char *name)
{
    return json_pack("{s:s, s:s}", LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE, LABEL_INSTANCE, name);
}

json_t *service_body(const struct terminal_key *key, const char *name, const struct settings *settings)
{
    return json_pack("{s:s, s:s, s:o, s:{s:s, s:o, s:[{s:s, s:i, s:i, s:s}]}}", "apiVersion", "v1", "kind", "Service", "metadata",
                     terminal_metadata(key, settings->kubernetes_namespace, name, name, settings->kubernetes_labels), "spec",
                     "type", settings->kubernetes_service_type, "selector", selector_of(name), "ports",
                     "name", "http", "port", GUEST_PORT, "targetPort", GUEST_PORT, "protocol", "TCP");
}

static int delete_other(struct kubernetes *k, const json_t *service, struct error *err)
{
    struct kube_delete_options options = { .uid = kube_uid(service), .grace_s = -1 };
    int result = kube_delete(k->client, &KUBE_SERVICES, k->namespace, kube_name(service), &options, err);

    return result == 0 || err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
}

/* The name is taken. 1: by what we would make; 0: try to create again. One that selects other pods, such as the original's, is replaced. */
static int take_over(struct kubernetes *k, const struct terminal_key *key, const char *name, struct error *err)
{
    cleanup_json json_t *service = NULL, *wanted = selector_of(name);

    if (kube_get(k->client, &KUBE_SERVICES, k->namespace, name, &service, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    enum owner owner = owner_of_object(service, key, true);
    if (owner != OWNER_SAME && owner != OWNER_FITS)
        return refuse_foreign("Service", name, owner, err);
    if (kube_is_deleting(service) || !json_equal(kube_at(service, "spec", "selector", NULL), wanted))
        return delete_other(k, service, err);
    picture_note(k, KIND_SERVICES, service);
    return 1;
}

int service_ensure(struct kubernetes *k, const struct terminal_key *key, const char *name, char **created_uid, struct error *err)
{
    cleanup_json json_t *body = service_body(key, name, k->settings);

    for (int i = 0; i < ATTEMPTS; i++) {
        cleanup_json json_t *made = NULL;
        if (kube_create(k->client, &KUBE_SERVICES, k->namespace, body, &made, err) == 0) {
            picture_note(k, KIND_SERVICES, made);
            *created_uid = xstrdup(kube_uid(made));
            return 0;
        }
        if (err->class != ERR_CONFLICT)
            return error_wrap(err, "making the Service %s", name);
        int taken = take_over(k, key, name, err);
        if (taken != 0)
            return taken < 0 ? -1 : 0;
    }
    return error_set(err, ERR_UNAVAILABLE, "the Service %s comes and goes", name);
}
