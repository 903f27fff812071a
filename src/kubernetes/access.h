/* What `terminals doctor` asks of every cluster. Blocking calls; any thread. */
#ifndef KUBERNETES_ACCESS_H
#define KUBERNETES_ACCESS_H

#include "base/buf.h"
#include "kubernetes/client.h"

/* What an account has to be allowed: "get,list,watch" of a resource in a namespace. */
struct kube_need {
    const struct kube_resource *resource;
    const char *subresource, *verbs;    /* subresource: NULL for the resource itself */
};

/* Appends those verbs that are not allowed to `missing`, as "list pods, get pods/log", and adds to `*asked` how many were asked for. */
int kube_missing_rights(struct kube_client *client, const char *namespace, const struct kube_need *need, struct buf *missing, unsigned *asked,
                        struct error *err) MUST_CHECK;
/* "v1.34.4 at https://… (from ~/.kube/config)"; NULL when the server cannot be asked, and the error tells where its address comes from. The caller
 * frees. */
char *kube_describe_server(struct kube_client *client, struct error *err) MUST_CHECK;

#endif
