/* Rules by which pods are made, the same for the direct backend, for the resource that an orchestrator writes, and for the operator, so that a policy
 * means the same on both ways. Pure functions over JSON. The caller owns what it gets; nothing in it is shared with what it was made from, so that settings
 * stay as they are for all who read them. */
#ifndef KUBERNETES_POD_H
#define KUBERNETES_POD_H

#include <jansson.h>

#include "base/error.h"

/* `above` laid over `below`, objects deep. What is no object counts as empty. */
json_t *kube_merged(const json_t *below, const json_t *above) MUST_CHECK;

/* --- what a policy says --- */

/* Its security contexts, which may be spelt in two ways; empty objects when it has none. `policy` may be NULL. */
json_t *kube_policy_pod_security(const json_t *policy) MUST_CHECK;
json_t *kube_policy_container_security(const json_t *policy) MUST_CHECK;
/* Its `podTemplate` as {metadata, spec}; a bare pod spec is taken too. Empty when there is none. */
json_t *kube_policy_template(const json_t *policy) MUST_CHECK;
/* The value of a variable, so that Kubernetes, which expands $(NAME) and reads "$$" as "$", hands over `value` as it is. The caller frees. */
char *kube_escape_variable(const char *value) MUST_CHECK;
/* ERR_INVALID_POLICY when the policy names a network, which only an engine has; NULL: none. */
int kube_refuse_network(const char *network, struct error *err) MUST_CHECK;
/* On top of a container's security context: no sudo unless allowed, NET_ADMIN for the image's own filter. */
void kube_put_privileges(json_t *context, bool allow_sudo, bool net_admin);

/* --- security contexts: defaults of restricted mode, over them the settings', over them the terminal's own. Each may be NULL. --- */
json_t *kube_pod_security(bool restricted, const json_t *settings, const json_t *own) MUST_CHECK;
json_t *kube_container_security(bool restricted, const json_t *settings, const json_t *own) MUST_CHECK;

/* --- a pod that is there, or its body --- */

/* The guest's container: that of our name, else the first, as on pods of the original. Borrowed; NULL: there is none. */
const json_t *kube_guest_container(const json_t *pod);

/* --- emptying a home --- */

/* What the pod that empties the home of this pod has to have in common with it, so that it can run where and as the terminal does: members of a pod's spec,
 * and those of its one container under "container". */
json_t *kube_cleaner_of(const json_t *pod) MUST_CHECK;

#endif
