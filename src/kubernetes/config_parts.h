/* The inside of a configuration, shared by the files that read it, keep its files fresh and run its plugin. Private to kubernetes/ (and its tests). */
#ifndef KUBERNETES_CONFIG_PARTS_H
#define KUBERNETES_CONFIG_PARTS_H

#include <jansson.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/str.h"
#include "kubernetes/config.h"

/* A small file whose contents may be replaced at any time (a rotating token, a renewed certificate). Under the config's lock. */
struct kube_file {
    char *path;                 /* NULL: there is none */
    char *text;                 /* what was read last, trimmed; NULL: nothing yet */
    struct stat seen;           /* of the file that was read */
    int64_t read_ms;            /* monotonic */
};
/* Reads the file again when it is another than was read, when a minute has passed, or by `force`. When that fails and there is an earlier text, the earlier one
 * is kept with a warning: a file that is just being replaced is no reason to stop. */
int kube_file_refresh(struct kube_file *file, bool force, struct error *err) MUST_CHECK;
void kube_file_clear(struct kube_file *file);

/* A program that gives credentials. Immutable. */
struct kube_exec {
    char *command;              /* NULL: there is none. With a '/': relative to the kubeconfig already resolved */
    char **arguments;           /* without the command, NULL-terminated */
    char **environment;         /* "NAME=value" besides ours, NULL-terminated */
    char *api_version;
    char *install_hint;         /* or NULL */
    unsigned limit_ms;          /* how long it may run */
    json_t *cluster;            /* for spec.cluster of KUBERNETES_EXEC_INFO, or NULL when it shall not be told */
};
struct kube_exec_answer {
    char *token, *cert_pem, *key_pem;   /* the holder's; NULL where there is none */
    int64_t expires_us;                 /* wall time; INT64_MAX: never */
};
int kube_exec_read(const json_t *section, const char *directory, struct kube_exec *exec, struct error *err) MUST_CHECK;
int kube_exec_run(const struct kube_exec *exec, struct kube_exec_answer *answer, struct error *err) MUST_CHECK;
/* Checks and takes apart an ExecCredential. */
int kube_exec_parse(const struct kube_exec *exec, struct str text, struct kube_exec_answer *answer, struct error *err) MUST_CHECK;
void kube_exec_clear(struct kube_exec *exec);
void kube_exec_answer_clear(struct kube_exec_answer *answer);

struct kube_config {
    char *server, *namespace, *origin, *server_name, *proxy, *ca_pem;  /* immutable */
    bool skip_verify;                                                   /* immutable */
    char *authorization;                /* of a fixed token or password, or NULL; immutable */
    char *cert_pem, *key_pem;           /* fixed ones, or NULL; immutable */
    struct kube_exec exec;              /* immutable */
    pthread_mutex_t lock;               /* guards the rest; held while a plugin runs, so that it runs once for all who wait */
    struct kube_file token_file, cert_file, key_file;
    struct kube_exec_answer exec_answer;
    int64_t exec_ran_ms;                /* monotonic; when it last gave something; 0: never */
    int64_t exec_failed_ms;             /* monotonic; 0: not since it last gave something */
    struct error exec_error;            /* of that failure */
};

/* A kubeconfig's text; `directory` is what its relative paths start from. */
struct kube_config *kube_config_read(struct str text, const char *directory, const char *origin, struct error *err) MUST_CHECK;
/* The service account mounted at `directory`, and the API server's address as the pod's environment says. */
struct kube_config *kube_config_read_account(const char *directory, const char *host, const char *port, struct error *err) MUST_CHECK;

/* YAML (or JSON) as a JSON value in which every scalar is a string, but for null. ERR_INVALID with line and column. The caller owns the reference. */
json_t *kube_yaml_read(struct str text, struct error *err) MUST_CHECK;
/* White space in it does not count. NULL when it is no base64. The result is NUL-terminated and the caller's (secret_free). */
char *kube_base64_decode(const char *text) MUST_CHECK;

#endif
