/* Kubeconfigs: what is understood, what is refused and with which words; service accounts; credentials that change; plugins. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "kubernetes/config_parts.h"

static char directory[] = "/tmp/kube-config-XXXXXX";

static int start(void **state)
{
    return mkdtemp(directory) ? 0 : -1;
}

static int end(void **state)
{
    cleanup_free char *command = xasprintf("rm -rf %s", directory);
    return system(command);
}

static void put_file(const char *name, const char *text, unsigned mode)
{
    cleanup_free char *path = xasprintf("%s/%s", directory, name);
    struct error err = { 0 };

    if (file_write_atomic(path, str_from(text), mode, &err) < 0)
        fail_msg("%s", err.text);
}

/* A whole kubeconfig around these members of cluster and user. */
static char *kubeconfig(const char *cluster, const char *user)
{
    return xasprintf("apiVersion: v1\nkind: Config\ncurrent-context: here\n"
                     "clusters:\n- name: other\n  cluster: {server: \"https://other\"}\n- name: c\n  cluster: {%s}\n"
                     "contexts:\n- name: here\n  context:\n    cluster: c\n    user: u\n    namespace: mine\n"
                     "users:\n- name: u\n  user: {%s}\n", cluster, user);
}

static struct kube_config *read_config(const char *text, struct error *err)
{
    return kube_config_read(str_from(text), directory, "a test", err);
}

static struct kube_config *must_read(const char *text)
{
    struct error err = { 0 };
    struct kube_config *config = read_config(text, &err);

    if (!config)
        fail_msg("%s in\n%s", err.text, text);
    return config;
}

/* base64 of "-----BEGIN X-----\n" */
#define PEM64 "LS0tLS1CRUdJTiBYLS0tLS0K"
#define PEM "-----BEGIN X-----\n"
#define SERVER "server: \"https://api:6443\""

static void the_current_context_chooses(void **state)
{
    cleanup_free char *text = kubeconfig("server: \"https://api.example:6443//\", tls-server-name: inside, proxy-url: \"http://proxy:1\", "
                                         "certificate-authority-data: " PEM64, "token: secret");
    struct kube_config *config = must_read(text);
    struct kube_credential credential;
    struct error err = { 0 };

    assert_string_equal(kube_config_server(config), "https://api.example:6443");
    assert_string_equal(kube_config_namespace(config), "mine");
    assert_string_equal(kube_config_server_name(config), "inside");
    assert_string_equal(kube_config_proxy(config), "http://proxy:1");
    assert_string_equal(kube_config_ca_pem(config), PEM);
    assert_string_equal(kube_config_origin(config), "a test");
    assert_false(kube_config_skip_verify(config));
    assert_int_equal(kube_config_credential(config, false, &credential, &err), 0);
    assert_string_equal(credential.authorization, "Bearer secret");
    assert_null(credential.cert_pem);
    kube_credential_clear(&credential);
    kube_config_free(config);
}

static void json_is_a_kubeconfig_too(void **state)
{
    struct kube_config *config = must_read("{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\"}}],"
                                           "\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"http://a/k8s/clusters/c-1\",\"insecure-skip-tls-verify\":true}}]}");
    struct kube_credential credential;
    struct error err = { 0 };

    assert_string_equal(kube_config_server(config), "http://a/k8s/clusters/c-1");
    assert_true(kube_config_skip_verify(config));
    assert_null(kube_config_namespace(config));
    assert_int_equal(kube_config_credential(config, false, &credential, &err), 0);
    assert_null(credential.authorization);
    kube_config_free(config);
}

struct credential_row {
    const char *name, *user, *authorization, *cert, *key;
};

static void every_form_of_credential_is_understood(void **state)
{
    static const struct credential_row rows[] = {
        { "nothing", "", NULL, NULL, NULL },
        { "token", "token: 12345", "Bearer 12345", NULL, NULL },
        { "a token file before a token", "token: a, tokenFile: token-file", "Bearer from-file", NULL, NULL },
        { "password", "username: Aladdin, password: \"open sesame\"", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", NULL, NULL },
        { "certificate inline", "client-certificate-data: " PEM64 ", client-key-data: " PEM64, NULL, PEM, PEM },
        { "certificate in files", "client-certificate: cert.pem, client-key: cert.pem", NULL, "-----BEGIN Y-----", "-----BEGIN Y-----" },
        { "inline before files", "client-certificate-data: " PEM64 ", client-certificate: missing, client-key: cert.pem", NULL, PEM, "-----BEGIN Y-----" },
        { "certificate and token", "token: t, client-certificate-data: " PEM64 ", client-key-data: " PEM64, "Bearer t", PEM, PEM },
        { "null members", "token: t, as: null, exec: ~, client-key: ", "Bearer t", NULL, NULL },
    };

    put_file("token-file", "  from-file\n", 0600);
    put_file("cert.pem", "-----BEGIN Y-----\n", 0600);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *text = kubeconfig(SERVER, rows[i].user);
        struct kube_config *config = must_read(text);
        struct kube_credential got;
        struct error err = { 0 };
        if (kube_config_credential(config, false, &got, &err) < 0)
            fail_msg("%s: %s", rows[i].name, err.text);
        const char *const pairs[][2] = { { got.authorization, rows[i].authorization }, { got.cert_pem, rows[i].cert }, { got.key_pem, rows[i].key } };
        for (size_t n = 0; n < COUNT_OF(pairs); n++) {
            if ((pairs[n][0] == NULL) != (pairs[n][1] == NULL) || (pairs[n][0] && strcmp(pairs[n][0], pairs[n][1]) != 0))
                fail_msg("%s: '%s', not '%s'", rows[i].name, pairs[n][0], pairs[n][1]);
        }
        kube_credential_clear(&got);
        kube_config_free(config);
    }
}

struct refused_row {
    const char *name, *cluster, *user, *text;
};

static void mistakes_are_named_with_their_place(void **state)
{
    static const struct refused_row rows[] = {
        { "no server", "", "", "cluster.server is no http or https URL: ''" },
        { "a server of another scheme", "server: \"ftp://a\"", "", "cluster.server" },
        { "a number of servers", "server: [a]", "", "cluster.server is not a text" },
        { "no base64", SERVER ", certificate-authority-data: \"!!!\"", "", "cluster.certificate-authority-data is no PEM" },
        { "no PEM", SERVER ", certificate-authority-data: YWJj", "", "cluster.certificate-authority-data is no PEM" },
        { "a CA file that is missing", SERVER ", certificate-authority: gone.pem", "", "cluster.certificate-authority: cannot read" },
        { "CA and no verification", SERVER ", certificate-authority-data: " PEM64 ", insecure-skip-tls-verify: true", "", "insecure-skip-tls-verify" },
        { "an unclear flag", SERVER ", insecure-skip-tls-verify: 1", "", "neither true nor false: '1'" },
        { "certificate without key", SERVER, "client-certificate: a", "without the other" },
        { "key without certificate", SERVER, "client-key-data: " PEM64, "without the other" },
        { "a token with a line end", SERVER, "token: \"a\\nX-Evil: 1\"", "user.token holds a control character" },
        { "impersonation", SERVER, "token: t, as: admin", "user.as: impersonation" },
        { "an old provider", SERVER, "auth-provider: {name: gcp}", "auth-provider" },
        { "a plugin without command", SERVER, "exec: {apiVersion: client.authentication.k8s.io/v1}", "user.exec.command" },
        { "a plugin of an old version", SERVER, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}", "v1 or v1beta1, not" },
        { "a plugin that wants to talk", SERVER, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}", "interactiveMode" },
        { "a plugin with an unnamed variable", SERVER, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, env: [{value: a}]}", "user.exec.env[0]" },
        { "a plugin with a strange argument", SERVER, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, args: [[]]}", "user.exec.args[0]" },
        { "YAML that is none", SERVER, "token: 'a", "line " },
        { "a key twice", SERVER, "token: a, token: b", "twice" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *text = kubeconfig(rows[i].cluster, rows[i].user);
        struct error err = { 0 };
        struct kube_config *config = read_config(text, &err);
        if (config || err.class == ERR_NONE || !strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].name, config ? "accepted" : err.text);
    }
}

static void what_the_context_names_must_be_there(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "empty" },
        { "just words", "not a kubeconfig" },
        { "a: [", "line " },
        { "a: &x [*x]", "too deep or too large" },
        { "clusters: []", "no current-context" },
        { "current-context: ''", "no current-context" },
        { "current-context: x", "contexts has no 'x'" },
        { "current-context: x\ncontexts: 5", "contexts has no 'x'" },
        { "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "clusters has no 'c'" },
        { "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://a'}}]", "users has no 'u'" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        assert_null(read_config(rows[i].text, &err));
        if (err.class != ERR_INVALID || !strstr(err.text, rows[i].says))
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

static void aliases_that_multiply_are_refused(void **state)
{
    cleanup_buf struct buf text = { 0 };
    struct error err = { 0 };

    buf_append_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        buf_printf(&text, "a%d: &a%d [", i, i);
        for (int n = 0; n < 10; n++)
            buf_printf(&text, "*a%d%s", i - 1, n < 9 ? ", " : "]\n");
    }
    assert_null(kube_yaml_read(buf_str(&text), &err));
    assert_non_null(strstr(err.text, "too large"));
}

static void the_file_is_found_where_it_is_said_to_be(void **state)
{
    cleanup_free char *text = kubeconfig(SERVER ", certificate-authority: cert.pem", "");
    cleanup_free char *path = xasprintf("%s/config", directory), *list = xasprintf("/nonexistent:%s/nothing::%s/config", directory, directory);
    struct error err = { 0 };
    struct kube_config *config;

    put_file("config", text, 0600);
    put_file("cert.pem", "-----BEGIN Y-----\n", 0600);
    config = kube_config_load(path, &err);
    assert_non_null(config);
    assert_string_equal(kube_config_ca_pem(config), "-----BEGIN Y-----\n");
    assert_non_null(strstr(kube_config_origin(config), path));
    kube_config_free(config);
    setenv("KUBECONFIG", list, 1);
    config = kube_config_load(NULL, &err);
    assert_non_null(config);
    kube_config_free(config);
    setenv("KUBECONFIG", "/nonexistent:", 1);
    assert_null(kube_config_load("", &err));
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_null(kube_config_load("/nonexistent/x", &err));
    assert_int_equal(err.class, ERR_NOT_FOUND);
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    setenv("HOME", "/nonexistent", 1);
    assert_null(kube_config_load(NULL, &err));
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "TERMINALS_KUBERNETES_KUBECONFIG"));
}

/* As kubectl merges them. Paths stay relative to the file that they are in. */
static void several_files_count_as_one_and_the_first_wins(void **state)
{
    cleanup_free char *list = xasprintf("%s/gone:%s/empty:%s/one:%s/two/config", directory, directory, directory, directory);
    cleanup_free char *folder = xasprintf("%s/two", directory);
    struct kube_credential credential;
    struct error err = { 0 };

    assert_int_equal(mkdir(folder, 0700), 0);
    put_file("empty", "", 0600);
    put_file("one", "current-context: ''\nclusters: [{name: c, cluster: {server: 'https://one'}}]\nusers: null\n", 0600);
    put_file("two/config", "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u, namespace: n}}]\n"
                           "clusters: [{name: c, cluster: {server: 'https://two'}}]\nusers: [{name: u, user: {tokenFile: token}}]\n", 0600);
    put_file("token", "of one", 0600);
    put_file("two/token", "of two", 0600);
    setenv("KUBECONFIG", list, 1);
    struct kube_config *config = kube_config_load(NULL, &err);
    if (!config)
        fail_msg("%s", err.text);
    assert_string_equal(kube_config_server(config), "https://one");
    assert_string_equal(kube_config_namespace(config), "n");
    assert_int_equal(kube_config_credential(config, false, &credential, &err), 0);
    assert_string_equal(credential.authorization, "Bearer of two");
    kube_credential_clear(&credential);
    kube_config_free(config);
    put_file("two/config", "users: [", 0600);
    assert_null(kube_config_load(NULL, &err));
    assert_non_null(strstr(err.text, "two/config: line "));
    unsetenv("KUBECONFIG");
}

static void base64_may_be_broken_into_lines(void **state)
{
    static const struct { const char *name, *text, *decoded; } rows[] = {
        { "in one piece", "YWJj", "abc" }, { "padded", "YQ==", "a" }, { "nothing", "", "" },
        { "a block's line breaks", "YW\nJj\nYQ\n==\n", "abca" }, { "of another system, indented", " YW\r\n\tJj\r\n", "abc" }, { "white space alone", " \n", "" },
        { "a digit short", "YWJ\n", NULL }, { "no digit", "YW!j", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *decoded = kube_base64_decode(rows[i].text);
        if (rows[i].decoded ? !decoded || strcmp(decoded, rows[i].decoded) != 0 : decoded != NULL)
            fail_msg("%s: %s", rows[i].name, decoded ? decoded : "refused");
    }
}

static void a_service_account_is_read_from_its_folder(void **state)
{
    struct error err = { 0 };
    struct kube_credential credential;

    put_file("token", "account-token", 0600);
    put_file("namespace", "team\n", 0600);
    put_file("ca.crt", PEM, 0600);
    struct kube_config *config = kube_config_read_account(directory, "10.0.0.1", "443", &err);
    assert_non_null(config);
    assert_string_equal(kube_config_server(config), "https://10.0.0.1:443");
    assert_string_equal(kube_config_namespace(config), "team");
    assert_int_equal(kube_config_credential(config, false, &credential, &err), 0);
    assert_string_equal(credential.authorization, "Bearer account-token");
    kube_credential_clear(&credential);
    kube_config_free(config);
    config = kube_config_read_account(directory, "fd00::1", "6443", &err);
    assert_string_equal(kube_config_server(config), "https://[fd00::1]:6443");
    kube_config_free(config);
    assert_null(kube_config_read_account("/nonexistent", "a", "1", &err));
}

static void expect_authorization(struct kube_config *config, bool refused, const char *wanted)
{
    struct kube_credential credential;
    struct error err = { 0 };

    if (kube_config_credential(config, refused, &credential, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(credential.authorization, wanted);
    kube_credential_clear(&credential);
}

static void a_token_file_is_read_again_when_it_changed_or_a_minute_passed(void **state)
{
    cleanup_free char *text = kubeconfig(SERVER, "tokenFile: rotating");
    cleanup_free char *path = xasprintf("%s/rotating", directory);
    struct kube_config *config = must_read(text);
    struct kube_credential credential;
    struct error err = { 0 };

    assert_int_equal(kube_config_credential(config, false, &credential, &err), -1);
    put_file("rotating", "one", 0600);
    expect_authorization(config, false, "Bearer one");
    put_file("rotating", "two", 0600);
    expect_authorization(config, false, "Bearer two");
    unlink(path);
    expect_authorization(config, false, "Bearer two");
    put_file("rotating", "", 0600);
    expect_authorization(config, true, "Bearer two");
    put_file("rotating", "a\nb", 0600);
    assert_int_equal(kube_config_credential(config, false, &credential, &err), -1);
    kube_config_free(config);
}

/* --- plugins ----------------------------------------------------------------------------------------------------- */

static const char plugin[] =
    "#!/bin/sh\n"
    "echo x >> \"$0.runs\"\n"
    "printf %s \"$KUBERNETES_EXEC_INFO\" > \"$0.info\"\n"
    "printf '%s|' \"$@\" > \"$0.arguments\"\n"
    "[ -e \"$0.fail\" ] && { echo 'no session' >&2; echo more >&2; exit 3; }\n"
    "cat <<END\n"
    "{\"apiVersion\":\"client.authentication.k8s.io/$API\",\"kind\":\"ExecCredential\","
    "\"status\":{\"token\":\"$WORD-$(wc -l < \"$0.runs\")\"$(cat \"$0.extra\" 2>/dev/null)}}\n"
    "END\n";

static char *read_back(const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", directory, name);
    struct error err = { 0 };
    char *text = NULL;
    size_t len;

    if (file_read(path, 65536, &text, &len, &err) < 0)
        fail_msg("%s", err.text);
    return text;
}

static void unlink_file(const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", directory, name);
    unlink(path);
}

static void a_plugin_is_asked_and_asked_again_when_its_answer_ends(void **state)
{
    cleanup_free char *text = kubeconfig(SERVER ", certificate-authority-data: " PEM64,
                                         "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: ./plugin, args: [\"a b\", '$x'], "
                                         "env: [{name: WORD, value: word}, {name: API, value: v1beta1}], provideClusterInfo: true}");
    struct kube_config *config = must_read(text);
    struct error err = { 0 };
    struct kube_credential credential;

    put_file("plugin", plugin, 0755);
    put_file("plugin.extra", ",\"expirationTimestamp\":\"2099-01-01T00:00:00Z\"", 0600);
    expect_authorization(config, false, "Bearer word-1");
    expect_authorization(config, false, "Bearer word-1");
    cleanup_free char *arguments = read_back("plugin.arguments"), *info = read_back("plugin.info");
    assert_string_equal(arguments, "a b|$x|");
    cleanup_json json_t *question = json_read(str_from(info), &err);
    const json_t *spec = json_object_get(question, "spec"), *cluster = json_object_get(spec, "cluster");
    assert_string_equal(json_text(question, "apiVersion"), "client.authentication.k8s.io/v1beta1");
    assert_string_equal(json_text(question, "kind"), "ExecCredential");
    assert_true(json_is_false(json_object_get(spec, "interactive")));
    assert_string_equal(json_text(cluster, "server"), "https://api:6443");
    assert_string_equal(json_text(cluster, "certificate-authority-data"), PEM64);

    /* Refused just after it ran: its answer stands for all who were refused together. */
    expect_authorization(config, true, "Bearer word-1");
    clock_fake_set(clock_monotonic_us() + 5000000, clock_wall_us());
    expect_authorization(config, true, "Bearer word-2");
    clock_fake_set(clock_monotonic_us(), 4070908790000000);     /* ten seconds before its end */
    expect_authorization(config, false, "Bearer word-3");
    put_file("plugin.fail", "", 0600);
    expect_authorization(config, false, "Bearer word-3");
    clock_fake_set(clock_monotonic_us(), 4070908801000000);
    unlink_file("plugin.fail");
    /* The failure of a moment ago is told again, not tried again. */
    assert_int_equal(kube_config_credential(config, false, &credential, &err), -1);
    assert_non_null(strstr(err.text, "it ended with status 3: no session"));
    assert_null(strstr(err.text, "more"));
    clock_fake_set(clock_monotonic_us() + 5000000, 4070908801000000);
    put_file("plugin.extra", "", 0600);
    expect_authorization(config, false, "Bearer word-5");
    clock_fake_set(-1, -1);
    kube_config_free(config);
}

struct answer_row {
    const char *name, *text, *says;
};

static void what_a_plugin_prints_is_checked(void **state)
{
#define V1 "\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\""
    static const struct answer_row rows[] = {
        { "a token", "{" V1 ",\"status\":{\"token\":\"t\"}}", NULL },
        { "a certificate", "{" V1 ",\"status\":{\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}}", NULL },
        { "an expiry with a fraction and an offset", "{" V1 ",\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"2026-01-01T00:00:00.5+01:00\"}}", NULL },
        { "nothing", "", "not JSON" },
        { "words", "please log in", "not JSON" },
        { "another kind", "{\"kind\":\"Pod\"}", "no ExecCredential" },
        { "another version", "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}", "v1beta1' where" },
        { "no status", "{" V1 "}", "neither a token nor a certificate" },
        { "an empty token", "{" V1 ",\"status\":{\"token\":\"\"}}", "neither" },
        { "a certificate alone", "{" V1 ",\"status\":{\"clientCertificateData\":\"c\"}}", "without the other" },
        { "an expiry that is no time", "{" V1 ",\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}}", "is no time: 'soon'" },
    };
    struct kube_exec exec = { .command = (char *)"x", .api_version = (char *)"client.authentication.k8s.io/v1" };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct kube_exec_answer answer = { 0 };
        struct error err = { 0 };
        int result = kube_exec_parse(&exec, str_from(rows[i].text), &answer, &err);
        if ((result < 0) != (rows[i].says != NULL) || (rows[i].says && !strstr(err.text, rows[i].says)))
            fail_msg("%s: %d %s", rows[i].name, result, err.text);
        kube_exec_answer_clear(&answer);
    }
}

static void a_plugin_that_is_missing_says_how_to_get_it(void **state)
{
    cleanup_free char *text = kubeconfig(SERVER, "exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin-at-all, "
                                                 "installHint: install it from somewhere}");
    struct kube_config *config = must_read(text);
    struct kube_credential credential;
    struct error err = { 0 };

    assert_int_equal(kube_config_credential(config, false, &credential, &err), -1);
    assert_non_null(strstr(err.text, "credential plugin no-such-plugin-at-all: it cannot be run; install it from somewhere"));
    kube_config_free(config);
}

#define PRINT_CREDENTIAL "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\"}}'\n"

/* Neither the end of a plugin's output nor that of the plugin may be waited for without limit, or for the other. */
static void a_plugin_is_done_when_it_ends_and_has_a_time_limit_until_then(void **state)
{
    static const struct {
        const char *name, *script;
        unsigned limit_ms;
        enum error_class class;
    } rows[] = {
        { "prints and ends", PRINT_CREDENTIAL, 60000, ERR_NONE },
        { "closes its outputs and ends later", PRINT_CREDENTIAL "exec >&- 2>&-\nsleep 0.1\n", 60000, ERR_NONE },
        { "leaves a helper that holds stderr", "sleep 100 >/dev/null &\necho $! > helper\n" PRINT_CREDENTIAL, 60000, ERR_NONE },
        { "leaves a helper that holds both", "sleep 100 &\necho $! > helper\n" PRINT_CREDENTIAL, 60000, ERR_NONE },
        { "closes its outputs and lives on", PRINT_CREDENTIAL "exec >&- 2>&-\nexec sleep 100\n", 300, ERR_TIMEOUT },
        { "prints and lives on", PRINT_CREDENTIAL "exec sleep 100\n", 300, ERR_TIMEOUT },
        { "prints without end", "exec yes\n", 300, ERR_TIMEOUT },
    };
    cleanup_free char *command = xasprintf("%s/lasting", directory);
    char *none[] = { NULL };
    struct kube_exec exec = { .command = command, .arguments = none, .environment = none, .api_version = (char *)"client.authentication.k8s.io/v1" };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *script = xasprintf("#!/bin/sh\ncd %s\n%s", directory, rows[i].script);
        struct kube_exec_answer answer = { 0 };
        struct error err = { .class = ERR_NONE };
        put_file("lasting", script, 0755);
        exec.limit_ms = rows[i].limit_ms;
        int64_t begun_ms = clock_monotonic_ms();
        int result = kube_exec_run(&exec, &answer, &err);
        if ((result < 0) != (rows[i].class != ERR_NONE) || err.class != rows[i].class || clock_monotonic_ms() - begun_ms > 50000)
            fail_msg("%s: %d %s", rows[i].name, result, err.text);
        kube_exec_answer_clear(&answer);
        if (strstr(rows[i].script, "helper")) {
            cleanup_free char *helper = read_back("helper");
            assert_int_equal(kill((pid_t)strtol(helper, NULL, 10), SIGKILL), 0);        /* it was let live */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_current_context_chooses),
        cmocka_unit_test(json_is_a_kubeconfig_too),
        cmocka_unit_test(every_form_of_credential_is_understood),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(what_the_context_names_must_be_there),
        cmocka_unit_test(aliases_that_multiply_are_refused),
        cmocka_unit_test(the_file_is_found_where_it_is_said_to_be),
        cmocka_unit_test(several_files_count_as_one_and_the_first_wins),
        cmocka_unit_test(base64_may_be_broken_into_lines),
        cmocka_unit_test(a_service_account_is_read_from_its_folder),
        cmocka_unit_test(a_token_file_is_read_again_when_it_changed_or_a_minute_passed),
        cmocka_unit_test(a_plugin_is_asked_and_asked_again_when_its_answer_ends),
        cmocka_unit_test(what_a_plugin_prints_is_checked),
        cmocka_unit_test(a_plugin_that_is_missing_says_how_to_get_it),
        cmocka_unit_test(a_plugin_is_done_when_it_ends_and_has_a_time_limit_until_then),
    };

    return cmocka_run_group_tests(tests, start, end);
}
