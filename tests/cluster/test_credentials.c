/* Who we are to a real API server: service-account tokens that rotate, plugins, client certificates, names that certificates must carry, and what a refusal says. */
#include "support.h"

#include "base/file.h"

static char directory[] = "/tmp/cluster-credentials-XXXXXX";

static int start(void **state)
{
    assert_non_null(mkdtemp(directory));
    if (support_start(state) != 0)
        return -1;
    free(support_shell("kubectl -n %s create role reader --verb=get,list --resource=secrets >/dev/null && "
                       "kubectl -n %s create rolebinding reader --role=reader --serviceaccount=%s:default",
                       support_namespace, support_namespace, support_namespace));
    return 0;
}

static int end(void **state)
{
    free(support_shell("rm -rf %s", directory));
    return support_end(state);
}

static void write_text(const char *name, const char *text)
{
    struct error err = { 0 };
    cleanup_free char *path = xasprintf("%s/%s", directory, name);

    OK(file_write_atomic(path, str_from(text), 0755, &err));
}

/* A kubeconfig for this server with these lines for the user and the cluster. */
static struct kube_client *client_with(const char *user, const char *cluster)
{
    cleanup_free char *server = support_config_text(".clusters[0].cluster.server");
    cleanup_free char *ca = support_shell("kubectl config view --raw --minify --flatten -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}'");
    cleanup_free char *text = xasprintf("clusters: [{name: c, cluster: {server: \"%s\", certificate-authority-data: %s%s}}]\n"
                                        "users: [{name: u, user: {%s}}]\n"
                                        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server, ca, cluster, user);
    return support_client_from(text);
}

static char *new_token(void) { return support_shell("kubectl -n %s create token default", support_namespace); }

static int read_secret(struct kube_client *client, struct error *err)
{
    cleanup_json json_t *result = NULL;
    return kube_get(client, &KUBE_SECRETS, support_namespace, "missing", &result, err);
}

static void a_token_that_rotates_in_its_file_is_read_again(void **state)
{
    struct error err = { 0 };
    cleanup_free char *first = new_token(), *second = new_token(), *user = xasprintf("tokenFile: %s/token", directory);

    write_text("token", "not-a-token\n");
    struct kube_client *client = client_with(user, "");
    FAILS(read_secret(client, &err), ERR_FORBIDDEN, "Unauthorized");
    write_text("token", first);
    FAILS(read_secret(client, &err), ERR_NOT_FOUND, "not found");
    write_text("token", second);
    FAILS(read_secret(client, &err), ERR_NOT_FOUND, "not found");
    kube_client_free(client);
}

static void a_refused_plugin_is_asked_again(void **state)
{
    struct error err = { 0 };
    cleanup_free char *token = new_token();
    cleanup_free char *user = xasprintf("exec: {apiVersion: client.authentication.k8s.io/v1, command: %s/plugin}", directory);
    cleanup_free char *script = xasprintf(
        "#!/bin/sh\necho x >> %s/runs\nif [ -e %s/good ]; then token=%s; else token=stale; fi\n"
        "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"'$token'\"}}'\n",
        directory, directory, token);

    write_text("plugin", script);
    struct kube_client *client = client_with(user, "");
    FAILS(read_secret(client, &err), ERR_FORBIDDEN, "Unauthorized");
    write_text("good", "");
    usleep(2100000);
    FAILS(read_secret(client, &err), ERR_NOT_FOUND, "not found");
    FAILS(read_secret(client, &err), ERR_NOT_FOUND, "not found");
    cleanup_free char *runs = support_shell("wc -l < %s/runs", directory);
    assert_string_equal(runs, "2");
    kube_client_free(client);
}

static void a_client_certificate_serves_as_well(void **state)
{
    struct error err = { 0 };
    bool allowed = false;
    cleanup_free char *user = xasprintf("client-certificate: %s/pki/admin.crt, client-key: %s/pki/admin.key", getenv("CLUSTER_RUN"), getenv("CLUSTER_RUN"));
    struct kube_client *client = client_with(user, "");

    OK(kube_may_i(client, &KUBE_NAMESPACES, NULL, "delete", NULL, &allowed, &err));
    assert_true(allowed);
    kube_client_free(client);
}

static void the_server_must_prove_its_name(void **state)
{
    struct error err = { 0 };
    cleanup_free char *token = new_token(), *user = xasprintf("token: %s", token);
    struct kube_client *right = client_with(user, ", tls-server-name: kubernetes.default.svc"), *wrong = client_with(user, ", tls-server-name: example.org");

    FAILS(read_secret(right, &err), ERR_NOT_FOUND, "not found");
    FAILS(read_secret(wrong, &err), ERR_UNAVAILABLE, "example.org");
    kube_client_free(right);
    kube_client_free(wrong);
}

static void a_server_of_another_authority_is_not_trusted(void **state)
{
    struct error err = { 0 };
    cleanup_free char *server = support_config_text(".clusters[0].cluster.server");
    cleanup_free char *ca = support_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout /dev/null "
                                          "-subj /CN=other 2>/dev/null | base64 -w0");
    cleanup_free char *text = xasprintf("clusters: [{name: c, cluster: {server: \"%s\", certificate-authority-data: %s}}]\n"
                                        "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n", server, ca);
    struct kube_client *client = support_client_from(text);

    FAILS(read_secret(client, &err), ERR_UNAVAILABLE, "certificate");
    kube_client_free(client);
}

static void a_refusal_names_who_may_not_do_what(void **state)
{
    struct error err = { 0 };
    cleanup_free char *token = new_token(), *user = xasprintf("token: %s", token);
    cleanup_json json_t *secret = support_secret("x", "y");
    struct kube_client *client = client_with(user, "");
    bool allowed = false;

    FAILS(kube_create(client, &KUBE_SECRETS, support_namespace, secret, NULL, &err), ERR_FORBIDDEN, "cannot create resource \"secrets\"");
    assert_non_null(strstr(err.text, "creating secrets "));
    assert_non_null(strstr(err.text, ":default\""));
    OK(kube_may_i(client, &KUBE_SECRETS, NULL, "create", support_namespace, &allowed, &err));
    assert_false(allowed);
    OK(kube_may_i(client, &KUBE_SECRETS, NULL, "list", support_namespace, &allowed, &err));
    assert_true(allowed);
    OK(kube_may_i(client, &KUBE_PODS, "log", "get", support_namespace, &allowed, &err));
    assert_false(allowed);
    kube_client_free(client);
}

static void a_server_that_is_not_there_says_where_it_should_be(void **state)
{
    struct error err = { 0 };
    struct kube_client *client = support_client_from("clusters: [{name: c, cluster: {server: \"https://127.0.0.1:9\"}}]\n"
                                                     "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n");

    FAILS(read_secret(client, &err), ERR_UNAVAILABLE, "cannot connect to https://127.0.0.1:9");
    kube_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_that_rotates_in_its_file_is_read_again),
        cmocka_unit_test(a_refused_plugin_is_asked_again),
        cmocka_unit_test(a_client_certificate_serves_as_well),
        cmocka_unit_test(the_server_must_prove_its_name),
        cmocka_unit_test(a_server_of_another_authority_is_not_trusted),
        cmocka_unit_test(a_refusal_names_who_may_not_do_what),
        cmocka_unit_test(a_server_that_is_not_there_says_where_it_should_be),
    };

    return cmocka_run_group_tests(tests, start, end);
}
