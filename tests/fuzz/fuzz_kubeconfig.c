/* Kubeconfigs and what plugins print: no read past the end; a configuration that is accepted has a server, and its credentials can be asked for. */
#include "fuzz.h"
#include "kubernetes/config_parts.h"

static void read_config(struct str text)
{
    struct error err = { 0 };
    struct kube_config *config = kube_config_read(text, "/nonexistent", "a test", &err);

    ASSERT(config || (err.class != ERR_NONE && err.text[0]));
    if (!config)
        return;
    ASSERT(strncmp(kube_config_server(config), "http", 4) == 0);
    if (!config->exec.command && !config->token_file.path && !config->cert_file.path && !config->key_file.path) {
        struct kube_credential credential;
        if (kube_config_credential(config, false, &credential, &err) == 0) {
            ASSERT(!credential.authorization || !str_has_control(str_from(credential.authorization)) || strncmp(credential.authorization, "Bearer", 6) != 0);
            kube_credential_clear(&credential);
        }
    }
    kube_config_free(config);
}

static void read_answer(struct str text)
{
    static char version[] = "client.authentication.k8s.io/v1", command[] = "x";
    struct kube_exec exec = { .command = command, .api_version = version };
    struct kube_exec_answer answer = { 0 };
    struct error err = { 0 };

    if (kube_exec_parse(&exec, text, &answer, &err) == 0)
        ASSERT(answer.token || (answer.cert_pem && answer.key_pem));
    kube_exec_answer_clear(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text;

    if (fuzz_choice(data, size, &text) & 1)
        read_answer(text);
    else
        read_config(text);
    return 0;
}
