#include "kubernetes/access.h"

#include "base/json.h"

int kube_missing_rights(struct kube_client *client, const char *namespace, const struct kube_need *need, struct buf *missing, unsigned *asked,
                        struct error *err)
{
    struct str rest = str_from(need->verbs), verb;

    while (str_next_part(&rest, ',', &verb)) {
        cleanup_free char *word = str_dup(verb);
        bool allowed = false;
        if (kube_may_i(client, need->resource, need->subresource, word, namespace, &allowed, err) < 0)
            return -1;
        ++*asked;
        if (!allowed)
            buf_printf(missing, "%s%s %s%s%s", missing->len ? ", " : "", word, need->resource->plural, need->subresource ? "/" : "",
                       need->subresource ? need->subresource : "");
    }
    return 0;
}

char *kube_describe_server(struct kube_client *client, struct error *err)
{
    const struct kube_config *config = kube_client_config(client);
    cleanup_json json_t *version = NULL;

    if (kube_get_path(client, "/version", &version, err) < 0) {
        cleanup_free char *text = xstrdup(err->text);
        (void)error_set(err, err->class, "%s (from %s)", text, kube_config_origin(config));
        return NULL;
    }
    const char *git = json_text(version, "gitVersion");
    return xasprintf("%s at %s (from %s)", git ? git : "?", kube_config_server(config), kube_config_origin(config));
}
