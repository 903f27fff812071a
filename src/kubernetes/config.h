/* How to reach a Kubernetes API server: a kubeconfig file or the pod's own service account. Read once; credentials that change (token
 * files, exec plugins, client certificates in files) are read again when they are used. Any thread. */
#ifndef KUBERNETES_CONFIG_H
#define KUBERNETES_CONFIG_H

#include "base/buf.h"
#include "base/error.h"

struct kube_config;

/* `path` NULL or "": the first of KUBECONFIG (a colon list: its files that exist as one, of which the first that sets something
 * counts), the service account of this pod, ~/.kube/config. ERR_NOT_FOUND when there is none, ERR_INVALID with file, place and what is wrong. */
struct kube_config *kube_config_load(const char *path, struct error *err) MUST_CHECK;
void kube_config_free(struct kube_config *config);

const char *kube_config_server(const struct kube_config *config);           /* "https://host:port", no trailing slash */
/* The namespace that the context or the service account names, or NULL. */
const char *kube_config_namespace(const struct kube_config *config);
/* For people: where it came from. */
const char *kube_config_origin(const struct kube_config *config);

/* TLS material as PEM texts, or NULL; live as long as the config. */
const char *kube_config_ca_pem(const struct kube_config *config);
bool kube_config_skip_verify(const struct kube_config *config);
const char *kube_config_server_name(const struct kube_config *config);      /* tls-server-name, or NULL */
const char *kube_config_proxy(const struct kube_config *config);            /* proxy-url, or NULL: as the environment says */

/* The credential for the next call. A token is read from its file again when the file is newer or a minute has passed; an exec plugin
 * (client.authentication.k8s.io v1, v1beta1) runs when there is no answer of it yet, when its expiry is near, or when `refused` (the server
 * said 401). All texts are the caller's; NULL where there is none. */
struct kube_credential {
    char *authorization;                /* "Bearer …" or "Basic …" */
    char *cert_pem, *key_pem;
};
void kube_credential_clear(struct kube_credential *credential);
int kube_config_credential(struct kube_config *config, bool refused, struct kube_credential *credential, struct error *err) MUST_CHECK;

#endif
