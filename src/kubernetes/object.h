/* Small helpers over objects, and the pieces of terminals that both the direct backend and the operator make. Pure functions. */
#ifndef KUBERNETES_OBJECT_H
#define KUBERNETES_OBJECT_H

#include <jansson.h>

#include "base/error.h"

/* Member by path, such as "metadata", "name", NULL. Borrowed; NULL when missing. */
const json_t *kube_at(const json_t *object, ...) __attribute__((sentinel));
const char *kube_text_at(const json_t *object, ...) __attribute__((sentinel));
const char *kube_name(const json_t *object);
const char *kube_uid(const json_t *object);
const char *kube_label(const json_t *object, const char *key);
const char *kube_annotation(const json_t *object, const char *key);
bool kube_is_deleting(const json_t *object);
/* metadata.resourceVersion as a number; 0: it has none. */
uint64_t kube_version(const json_t *object);
/* The member of a list, as of containers, that has this name. Borrowed; NULL when there is none. */
const json_t *kube_named(const json_t *list, const char *name);

/* Amounts as Kubernetes writes them: "512Mi"; "250m", whose thousandths are the finest there are (rounded up). The caller frees. */
char *kube_format_bytes(uint64_t bytes) MUST_CHECK;
char *kube_format_cpu(uint64_t nano_cpus) MUST_CHECK;
/* A size as people write it ("10 Gi", "10K"; base/quantity.h) as Kubernetes does. What is none stays as it is, for the API server to judge. The caller frees. */
char *kube_format_size(const char *text) MUST_CHECK;
/* Puts a policy's number of GPUs into `limits`; NULL: none. ERR_INVALID_POLICY when it is no number. */
int kube_put_gpus(json_t *limits, const char *gpus, struct error *err) MUST_CHECK;

/* A valid label value (≤ 63, [A-Za-z0-9._-], alphanumeric at both ends); empty is valid. */
bool kube_label_value_is_valid(const char *value);
/* `value` itself when it is a valid label value, else "h-" + 40 hex digits of its SHA-256. The caller frees. */
char *kube_label_value(const char *value) MUST_CHECK;
/* Whether a label that we or the original wrote for `text` may read so: `text` itself, its kube_label_value(), or the first 12 hex digits of its SHA-256. */
bool kube_label_stands_for(const char *label, const char *text);

/* Whether what a container's state says is the kubelet's own trouble of the moment (its caches, a slow runtime), after which it tries again, and not a
 * mistake in the pod. NULL is no message. */
bool kube_trouble_passes(const char *message);

/* Whether a node has the pod and makes this container ready to run: mounts its volumes, fetches its image. Which of them no status says. */
bool kube_is_preparing(const json_t *pod, const char *container);

/* Merges `template` under `generated` (§4.2 "Pod template"): objects deep, generated scalars win; lists `containers`, `initContainers`, `env`, `ports`,
 * `volumeMounts`, `volumes` merge by `name`; other lists: the generated one wins where it is there. The caller owns the result. */
json_t *kube_merge_template(const json_t *generated, const json_t *template) MUST_CHECK;

/* What a pod that empties a home runs in `/bin/sh -c`, with the home mounted at TERMINAL_HOME. Fails when something is left. */
extern const char kube_empty_home_script[];

#endif
