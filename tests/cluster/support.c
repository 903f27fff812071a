#include "support.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "http/client.h"

char support_namespace[64];

struct kube_client *support_client(const struct kube_client_options *options)
{
    struct error err = { 0 };
    struct kube_config *config = kube_config_load(NULL, &err);
    struct kube_client *client;

    if (!config)
        fail_msg("%s", err.text);
    client = kube_client_new(config, options ? options : &(struct kube_client_options){ 0 }, &err);
    if (!client)
        fail_msg("%s", err.text);
    return client;
}

struct kube_client *support_client_from(const char *kubeconfig)
{
    char path[] = "/tmp/kubeconfig-XXXXXX";
    struct error err = { 0 };
    int fd = mkstemp(path);
    struct kube_config *config;

    assert_true(fd >= 0 && write(fd, kubeconfig, strlen(kubeconfig)) == (ssize_t)strlen(kubeconfig));
    close(fd);
    config = kube_config_load(path, &err);
    unlink(path);
    if (!config)
        fail_msg("%s", err.text);
    return kube_client_new(config, &(struct kube_client_options){ 0 }, &err);
}

char *support_shell(const char *format, ...)
{
    cleanup_buf struct buf line = { 0 }, output = { 0 };
    va_list args;
    char chunk[4096];
    size_t got;

    va_start(args, format);
    buf_vprintf(&line, format, args);
    va_end(args);
    cleanup_free char *command = buf_take(&line);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while ((got = fread(chunk, 1, sizeof(chunk), pipe)) > 0)
        buf_append(&output, chunk, got);
    int status = pclose(pipe);
    if (status != 0)
        fail_msg("status %d of: %s", status, command);
    return str_dup(str_trim(buf_str(&output)));
}

char *support_config_text(const char *path) { return support_shell("kubectl config view --raw --minify -o 'jsonpath={%s}'", path); }

void support_ok(int result, const struct error *err, const char *what)
{
    if (result < 0)
        fail_msg("%s: %s: %s", what, error_class_name(err->class), err->text);
}

void support_failed(int result, const struct error *err, enum error_class class, const char *text, const char *what)
{
    if (result >= 0)
        fail_msg("%s succeeded", what);
    if (err->class != class || !strstr(err->text, text))
        fail_msg("%s: %s: %s", what, error_class_name(err->class), err->text);
}

json_t *support_secret(const char *name, const char *label)
{
    return json_pack("{s:{s:s, s:{s:s}}, s:{s:s}}", "metadata", "name", name, "labels", "test", label, "stringData", "key", "value");
}

bool support_wait(bool (*is_so)(void *context), void *context)
{
    int64_t end = clock_monotonic_ms() + 10000;

    while (!is_so(context)) {
        if (clock_monotonic_ms() > end)
            return false;
        usleep(20000);
    }
    return true;
}

int support_start(void **state)
{
    struct error err = { 0 };
    uint32_t number;
    (void)state;

    http_client_global_init();
    random_bytes(&number, sizeof(number));
    (void)snprintf(support_namespace, sizeof(support_namespace), "client-test-%08x", number);
    struct kube_client *client = support_client(NULL);
    cleanup_json json_t *namespace = json_pack("{s:{s:s}}", "metadata", "name", support_namespace);
    OK(kube_create(client, &KUBE_NAMESPACES, NULL, namespace, NULL, &err));
    kube_client_free(client);
    free(support_shell("for i in $(seq 600); do kubectl -n %s get serviceaccount default >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1",
                       support_namespace));
    return 0;
}

int support_end(void **state)
{
    struct error err = { 0 };
    struct kube_client *client = support_client(NULL);
    (void)state;

    OK(kube_delete(client, &KUBE_NAMESPACES, NULL, support_namespace, NULL, &err));
    kube_client_free(client);
    return 0;
}
