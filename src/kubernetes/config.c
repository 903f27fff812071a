/* Where the API server is and what it must prove: from a kubeconfig, or from what a pod finds mounted. Everything is read and checked here, so that a mistake is
 * told at the start with its place; what can change later (credential.c) is only named here. */
#include "kubernetes/config.h"

#include <errno.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/json.h"
#include "base/secret.h"
#include "kubernetes/config_parts.h"

#define CONFIG_MAX (4u << 20)
#define PEM_MAX (4u << 20)
#define ACCOUNT_DIRECTORY "/var/run/secrets/kubernetes.io/serviceaccount"
#define DIRECTORY "directory of the file"       /* put by us into each cluster and user: what its relative paths start from */

static char *copy_or_null(const char *text) { return text && *text ? xstrdup(text) : NULL; }

static struct kube_config *new_config(const char *origin)
{
    struct kube_config *config = xcalloc(1, sizeof(*config));

    pthread_mutex_init(&config->lock, NULL);
    config->origin = xstrdup(origin);
    return config;
}

void kube_config_free(struct kube_config *config)
{
    if (!config)
        return;
    free(config->server);
    free(config->namespace);
    free(config->origin);
    free(config->server_name);
    free(config->proxy);
    free(config->ca_pem);
    secret_free(config->authorization);
    free(config->cert_pem);
    secret_free(config->key_pem);
    kube_exec_clear(&config->exec);
    kube_exec_answer_clear(&config->exec_answer);
    kube_file_clear(&config->token_file);
    kube_file_clear(&config->cert_file);
    kube_file_clear(&config->key_file);
    pthread_mutex_destroy(&config->lock);
    free(config);
}

static void cleanup_config_pointer(struct kube_config **config) { kube_config_free(*config); }
#define cleanup_config __attribute__((cleanup(cleanup_config_pointer)))

const char *kube_config_server(const struct kube_config *config) { return config->server; }
const char *kube_config_namespace(const struct kube_config *config) { return config->namespace; }
const char *kube_config_origin(const struct kube_config *config) { return config->origin; }
const char *kube_config_ca_pem(const struct kube_config *config) { return config->ca_pem; }
bool kube_config_skip_verify(const struct kube_config *config) { return config->skip_verify; }
const char *kube_config_server_name(const struct kube_config *config) { return config->server_name; }
const char *kube_config_proxy(const struct kube_config *config) { return config->proxy; }

/* --- pieces -------------------------------------------------------------------------------------------------- */

/* As a YAML block breaks it into lines. The caller frees. */
static char *without_spaces(const char *text)
{
    char *result = xcalloc(1, strlen(text) + 1);

    for (size_t len = 0; *text; text++)
        if (!strchr(" \t\r\n", *text))
            result[len++] = *text;
    return result;
}

char *kube_base64_decode(const char *text)
{
    cleanup_secret char *digits = without_spaces(text);
    size_t len;

    return strlen(digits) > CONFIG_MAX ? NULL : base64_decode(digits, &len);
}

/* `path` as the kubeconfig means it. The caller frees. */
static char *resolve_path(const char *path, const char *directory)
{
    return *path == '/' || !*directory ? xstrdup(path) : xasprintf("%s/%s", directory, path);
}

/* The text at `key`; a missing or null one is "". Another type is an error. */
static int text_of(const json_t *section, const char *place, const char *key, const char **text, struct error *err)
{
    const json_t *value = json_object_get(section, key);

    *text = json_string_value(value);
    if (!*text)
        *text = "";
    if (!value || json_is_null(value) || json_is_string(value))
        return 0;
    return error_set(err, ERR_INVALID, "%s.%s is not a text", place, key);
}

static int flag_of(const json_t *section, const char *place, const char *key, bool *flag, struct error *err)
{
    const char *text;

    if (text_of(section, place, key, &text, err) < 0)
        return -1;
    *flag = strcasecmp(text, "true") == 0;
    if (*flag || !*text || strcasecmp(text, "false") == 0)
        return 0;
    return error_set(err, ERR_INVALID, "%s.%s is neither true nor false: '%.50s'", place, key, text);
}

/* PEM from `<key>-data`; `*pem` stays NULL when there is none. */
static int inline_pem(const json_t *section, const char *place, const char *key, char **pem, struct error *err)
{
    cleanup_free char *data_key = xasprintf("%s-data", key);
    const char *encoded;

    if (text_of(section, place, data_key, &encoded, err) < 0)
        return -1;
    if (!*encoded)
        return 0;
    *pem = kube_base64_decode(encoded);
    if (*pem && strstr(*pem, "-----BEGIN "))
        return 0;
    return error_set(err, ERR_INVALID, "%s.%s is no PEM text in base64", place, data_key);
}

/* The entry called `name` in a list of {name, <member>: {…}}; its member. NULL with `err` when it is not there. */
static const json_t *find_section(const json_t *root, const char *list, const char *member, const char *name, struct error *err)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(root, list), i, entry) {
        const char *found = json_text(entry, "name");
        const json_t *section = json_object_get(entry, member);
        if (found && strcmp(found, name) == 0 && json_is_object(section))
            return section;
    }
    (void)error_set(err, ERR_INVALID, "%s has no '%.100s' with a '%s'", list, name, member);
    return NULL;
}

/* --- sections ------------------------------------------------------------------------------------------------ */

static int read_server(struct kube_config *config, const json_t *cluster, struct error *err)
{
    const char *server;

    if (text_of(cluster, "cluster", "server", &server, err) < 0)
        return -1;
    if (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)
        return error_set(err, ERR_INVALID, "cluster.server is no http or https URL: '%.100s'", server);
    size_t len = strlen(server);
    while (server[len - 1] == '/')
        len--;
    config->server = xstrndup(server, len);
    return 0;
}

static int read_authorities(struct kube_config *config, const json_t *cluster, const char *directory, struct error *err)
{
    const char *file;
    size_t len;

    if (inline_pem(cluster, "cluster", "certificate-authority", &config->ca_pem, err) < 0 ||
        text_of(cluster, "cluster", "certificate-authority", &file, err) < 0)
        return -1;
    if (config->ca_pem || !*file)
        return 0;
    cleanup_free char *path = resolve_path(file, directory);
    return file_read(path, PEM_MAX, &config->ca_pem, &len, err) < 0 ? error_wrap(err, "cluster.certificate-authority") : 0;
}

static int read_cluster(struct kube_config *config, const json_t *cluster, const char *directory, struct error *err)
{
    const char *name, *proxy;

    if (read_server(config, cluster, err) < 0 || read_authorities(config, cluster, directory, err) < 0 ||
        flag_of(cluster, "cluster", "insecure-skip-tls-verify", &config->skip_verify, err) < 0 ||
        text_of(cluster, "cluster", "tls-server-name", &name, err) < 0 || text_of(cluster, "cluster", "proxy-url", &proxy, err) < 0)
        return -1;
    if (config->skip_verify && config->ca_pem)
        return error_set(err, ERR_INVALID, "cluster has a certificate authority and insecure-skip-tls-verify");
    config->server_name = copy_or_null(name);
    config->proxy = copy_or_null(proxy);
    return 0;
}

static int read_client_certificate(struct kube_config *config, const json_t *user, const char *directory, struct error *err)
{
    const char *cert, *key;

    if (inline_pem(user, "user", "client-certificate", &config->cert_pem, err) < 0 ||
        inline_pem(user, "user", "client-key", &config->key_pem, err) < 0 ||
        text_of(user, "user", "client-certificate", &cert, err) < 0 || text_of(user, "user", "client-key", &key, err) < 0)
        return -1;
    if (!config->cert_pem && *cert)
        config->cert_file.path = resolve_path(cert, directory);
    if (!config->key_pem && *key)
        config->key_file.path = resolve_path(key, directory);
    if ((config->cert_pem || config->cert_file.path) != (config->key_pem || config->key_file.path))
        return error_set(err, ERR_INVALID, "user has a client certificate or a client key without the other");
    return 0;
}

static char *basic_authorization(const char *user, const char *password)
{
    cleanup_secret char *pair = xasprintf("%s:%s", user, password);
    size_t len = strlen(pair);
    cleanup_secret char *encoded = xcalloc(1, 4 * ((len + 2) / 3) + 1);

    (void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)pair, (int)len);
    return xasprintf("Basic %s", encoded);
}

static int read_token(struct kube_config *config, const json_t *user, const char *directory, struct error *err)
{
    const char *token, *file, *name, *password;

    if (text_of(user, "user", "token", &token, err) < 0 || text_of(user, "user", "tokenFile", &file, err) < 0 ||
        text_of(user, "user", "username", &name, err) < 0 || text_of(user, "user", "password", &password, err) < 0)
        return -1;
    if (str_has_control(str_from(token)))
        return error_set(err, ERR_INVALID, "user.token holds a control character");
    if (*file)
        config->token_file.path = resolve_path(file, directory);
    else if (*token)
        config->authorization = xasprintf("Bearer %s", token);
    else if (*name)
        config->authorization = basic_authorization(name, password);
    return 0;
}

/* What we would have to ignore, and then act as somebody else or as nobody. */
static int refuse_unsupported(const json_t *user, struct error *err)
{
    static const char *const impersonation[] = { "as", "as-uid", "as-groups", "as-user-extra" };

    if (json_is_object(json_object_get(user, "auth-provider")))
        return error_set(err, ERR_INVALID, "user.auth-provider is no longer supported by Kubernetes: use an exec plugin");
    for (size_t i = 0; i < COUNT_OF(impersonation); i++) {
        const json_t *value = json_object_get(user, impersonation[i]);
        if (value && !json_is_null(value))
            return error_set(err, ERR_INVALID, "user.%s: impersonation is not supported", impersonation[i]);
    }
    return 0;
}

static int read_user(struct kube_config *config, const json_t *user, const char *directory, struct error *err)
{
    if (refuse_unsupported(user, err) < 0 || read_token(config, user, directory, err) < 0 ||
        read_client_certificate(config, user, directory, err) < 0)
        return -1;
    if (config->authorization || config->token_file.path)
        return 0;
    return kube_exec_read(json_object_get(user, "exec"), directory, &config->exec, err);
}

/* The Cluster that a plugin is told about. */
static json_t *describe_cluster(const struct kube_config *config, const json_t *cluster)
{
    const char *ca = json_text(cluster, "certificate-authority-data");

    return json_pack("{s:s, s:s*, s:b, s:s*, s:s*}", "server", config->server, "tls-server-name", config->server_name,
                     "insecure-skip-tls-verify", config->skip_verify, "certificate-authority-data", ca, "proxy-url", config->proxy);
}

static int read_context(struct kube_config *config, const json_t *root, struct error *err)
{
    const char *current, *cluster_name, *user_name, *namespace;
    const json_t *context, *cluster, *user = NULL;

    if (text_of(root, "kubeconfig", "current-context", &current, err) < 0)
        return -1;
    if (!*current)
        return error_set(err, ERR_INVALID, "no current-context is set");
    if (!(context = find_section(root, "contexts", "context", current, err)) ||
        text_of(context, "context", "cluster", &cluster_name, err) < 0 || text_of(context, "context", "user", &user_name, err) < 0 ||
        text_of(context, "context", "namespace", &namespace, err) < 0 ||
        !(cluster = find_section(root, "clusters", "cluster", cluster_name, err)) ||
        (*user_name && !(user = find_section(root, "users", "user", user_name, err))))
        return -1;
    config->namespace = copy_or_null(namespace);
    if (read_cluster(config, cluster, json_text(cluster, DIRECTORY), err) < 0 ||
        (user && read_user(config, user, json_text(user, DIRECTORY), err) < 0))
        return -1;
    if (config->exec.command && config->exec.cluster)
        json_object_update_new(config->exec.cluster, describe_cluster(config, cluster));
    return 0;
}

/* --- files --------------------------------------------------------------------------------------------------- */

static void note_directory(json_t *root, const char *list, const char *member, const char *directory)
{
    json_t *entry, *section;
    size_t i;

    json_array_foreach(json_object_get(root, list), i, entry)
        if (json_is_object(section = json_object_get(entry, member)))
            json_object_set_new_nocheck(section, DIRECTORY, json_string_nocheck(directory));
}

/* A kubeconfig's text, with the directory noted where paths may be. */
static json_t *read_root(struct str text, const char *directory, struct error *err)
{
    cleanup_json json_t *root = kube_yaml_read(text, err);

    if (!root)
        return NULL;
    if (!json_is_object(root)) {
        (void)error_set(err, ERR_INVALID, "not a kubeconfig");
        return NULL;
    }
    note_directory(root, "clusters", "cluster", directory);
    note_directory(root, "users", "user", directory);
    return steal(&root);
}

static json_t *read_file(const char *path, struct error *err)
{
    cleanup_free char *directory = strchr(path, '/') ? path_directory(path) : xstrdup("");
    cleanup_secret char *text = NULL;
    size_t len;

    if (file_read(path, CONFIG_MAX, &text, &len, err) < 0)
        return NULL;
    json_t *root = read_root(str_of(text, len), directory, err);
    if (!root)
        (void)error_wrap(err, "%s", path);
    return root;
}

static struct kube_config *config_of(const json_t *root, const char *origin, struct error *err)
{
    cleanup_config struct kube_config *config = new_config(origin);

    return read_context(config, root, err) < 0 ? NULL : steal(&config);
}

struct kube_config *kube_config_read(struct str text, const char *directory, const char *origin, struct error *err)
{
    cleanup_json json_t *root = read_root(text, directory, err);

    return root ? config_of(root, origin, err) : NULL;
}

/* --- sources ------------------------------------------------------------------------------------------------- */

/* What the files of `path` say together. */
static struct kube_config *load_root(const char *path, const json_t *root, struct error *err)
{
    cleanup_free char *origin = xasprintf("the kubeconfig %s", path);
    struct kube_config *config = config_of(root, origin, err);

    if (!config)
        (void)error_wrap(err, "%s", path);
    return config;
}

static struct kube_config *load_file(const char *path, struct error *err)
{
    cleanup_json json_t *root = read_file(path, err);

    return root ? load_root(path, root, err) : NULL;
}

/* Adds what `more` says beyond `root`. Of entries with one name the first is found. */
static void add_root(json_t *root, json_t *more)
{
    static const char *const lists[] = { "clusters", "contexts", "users" };
    const char *current = json_text(root, "current-context");

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (!json_is_array(json_object_get(root, lists[i])))
            json_object_set_new(root, lists[i], json_array());
        (void)json_array_extend(json_object_get(root, lists[i]), json_object_get(more, lists[i]));
    }
    if ((!current || !*current) && json_object_get(more, "current-context"))
        json_object_set(root, "current-context", json_object_get(more, "current-context"));
}

static bool holds_something(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && (!S_ISREG(found.st_mode) || found.st_size > 0);
}

/* The files of a colon list that exist, as one, as kubectl reads them: the first that sets something counts. */
static struct kube_config *load_list(const char *list, struct error *err)
{
    cleanup_json json_t *root = json_object();
    struct str rest = str_from(list), part;

    while (str_next_part(&rest, ':', &part)) {
        cleanup_free char *path = str_dup(part);
        if (!*path || !holds_something(path))
            continue;
        cleanup_json json_t *more = read_file(path, err);
        if (!more)
            return NULL;
        add_root(root, more);
    }
    if (json_object_size(root) > 0)
        return load_root(list, root, err);
    (void)error_set(err, ERR_NOT_FOUND, "KUBECONFIG names no file that exists and holds something: '%s'", list);
    return NULL;
}

struct kube_config *kube_config_read_account(const char *directory, const char *host, const char *port, struct error *err)
{
    cleanup_config struct kube_config *config = new_config("the service account of this pod");
    cleanup_free char *ca_path = xasprintf("%s/ca.crt", directory), *namespace_path = xasprintf("%s/namespace", directory);
    cleanup_free char *namespace = NULL;
    size_t len;

    config->server = strchr(host, ':') ? xasprintf("https://[%s]:%s", host, port) : xasprintf("https://%s:%s", host, port);
    config->token_file.path = xasprintf("%s/token", directory);
    if (file_read(ca_path, PEM_MAX, &config->ca_pem, &len, err) < 0 || kube_file_refresh(&config->token_file, true, err) < 0) {
        (void)error_wrap(err, "the service account of this pod");
        return NULL;
    }
    if (file_read(namespace_path, 256, &namespace, &len, NULL) == 0)
        config->namespace = str_dup(str_trim(str_of(namespace, len)));
    return steal(&config);
}

struct kube_config *kube_config_load(const char *path, struct error *err)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    cleanup_free char *own = home ? xasprintf("%s/.kube/config", home) : NULL;

    if (path && *path)
        return load_file(path, err);
    if (list && *list)
        return load_list(list, err);
    if (host && *host && access(ACCOUNT_DIRECTORY "/token", F_OK) == 0)
        return kube_config_read_account(ACCOUNT_DIRECTORY, host, port && *port ? port : "443", err);
    if (own && access(own, F_OK) == 0)
        return load_file(own, err);
    (void)error_set(err, ERR_NOT_FOUND, "no kubeconfig: set KUBECONFIG or TERMINALS_KUBERNETES_KUBECONFIG, make %s, or run in a pod",
                    own ? own : "~/.kube/config");
    return NULL;
}
