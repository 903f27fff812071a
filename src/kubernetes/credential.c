/* The credential for the next call, from whatever gives it: fixed texts, files that are replaced under us, a plugin's last answer. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "kubernetes/config_parts.h"

#define FILE_MAX (1u << 20)
#define FILE_AGE_MS 60000
/* A plugin is asked again this long before its credential ends: clocks differ, and a call takes its time. */
#define EXPIRY_MARGIN_US (30 * 1000000LL)
/* Several calls may be refused at once; the plugin's answer to the first of them serves all. */
#define EXEC_PAUSE_MS 2000

void kube_credential_clear(struct kube_credential *credential)
{
    secret_free(credential->authorization);
    free(credential->cert_pem);
    secret_free(credential->key_pem);
    *credential = (struct kube_credential){ 0 };
}

void kube_file_clear(struct kube_file *file)
{
    free(file->path);
    secret_free(file->text);
    *file = (struct kube_file){ 0 };
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The file's trimmed text; empty is an error. */
static char *read_trimmed(const char *path, struct error *err)
{
    cleanup_secret char *data = NULL;
    size_t len = 0;

    if (file_read(path, FILE_MAX, &data, &len, err) < 0)
        return NULL;
    struct str text = str_trim(str_of(data, len));
    if (text.len > 0 && !memchr(text.data, '\0', text.len))
        return str_dup(text);
    (void)error_set(err, ERR_INVALID, "%s is empty or holds a NUL character", path);
    return NULL;
}

int kube_file_refresh(struct kube_file *file, bool force, struct error *err)
{
    struct stat now = { 0 };
    struct error why = { 0 };
    int64_t now_ms = clock_monotonic_ms();
    bool same = stat(file->path, &now) == 0 && file->text && is_same_file(&now, &file->seen);

    if (same && !force && now_ms - file->read_ms < FILE_AGE_MS)
        return 0;
    char *text = read_trimmed(file->path, &why);
    if (text) {
        secret_free(file->text);
        *file = (struct kube_file){ file->path, text, now, now_ms };
        return 0;
    }
    if (file->text) {
        log_warning("keeping the earlier contents of a credential file", LOG_ERR(&why));
        return 0;
    }
    if (err)
        *err = why;
    return -1;
}

/* Under the lock. */
static int refresh_files(struct kube_config *config, bool refused, struct error *err)
{
    struct kube_file *files[] = { &config->token_file, &config->cert_file, &config->key_file };

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (files[i]->path && kube_file_refresh(files[i], refused, err) < 0)
            return -1;
    }
    return 0;
}

static bool must_run_plugin(const struct kube_config *config, bool refused)
{
    if (config->exec_ran_ms == 0 || clock_wall_us() >= config->exec_answer.expires_us - EXPIRY_MARGIN_US)
        return true;
    return refused && clock_monotonic_ms() - config->exec_ran_ms >= EXEC_PAUSE_MS;
}

/* Under the lock. Those who waited while a plugin failed share its failure, or each would wait for another one. */
static int run_plugin(struct kube_config *config, struct kube_exec_answer *answer, struct error *err)
{
    int64_t now_ms = clock_monotonic_ms();

    if (config->exec_failed_ms && now_ms - config->exec_failed_ms < EXEC_PAUSE_MS) {
        *err = config->exec_error;
        return -1;
    }
    int result = kube_exec_run(&config->exec, answer, err);
    config->exec_failed_ms = result < 0 ? clock_monotonic_ms() : 0;
    if (result < 0)
        config->exec_error = *err;
    return result;
}

/* Under the lock. An answer that is still good outlives a plugin that fails. */
static int refresh_plugin(struct kube_config *config, bool refused, struct error *err)
{
    struct kube_exec_answer answer = { 0 };
    struct error why = { 0 };

    if (!config->exec.command || !must_run_plugin(config, refused))
        return 0;
    if (run_plugin(config, &answer, &why) < 0) {
        if (config->exec_ran_ms > 0 && !refused && clock_wall_us() < config->exec_answer.expires_us) {
            log_warning("the credential plugin failed; its earlier answer still holds", LOG_ERR(&why));
            return 0;
        }
        if (err)
            *err = why;
        return -1;
    }
    kube_exec_answer_clear(&config->exec_answer);
    config->exec_answer = answer;
    config->exec_ran_ms = clock_monotonic_ms();
    return 0;
}

static char *copy_first(const char *a, const char *b, const char *c)
{
    const char *text = a ? a : b ? b : c;
    return text ? xstrdup(text) : NULL;
}

/* Under the lock. */
static int copy_credential(const struct kube_config *config, struct kube_credential *credential, struct error *err)
{
    const char *token = config->token_file.text ? config->token_file.text : config->exec_answer.token;

    if (token && str_has_control(str_from(token)))
        return error_set(err, ERR_INVALID, "the token holds a control character");
    credential->authorization = token ? xasprintf("Bearer %s", token) : copy_first(config->authorization, NULL, NULL);
    credential->cert_pem = copy_first(config->exec_answer.cert_pem, config->cert_pem, config->cert_file.text);
    credential->key_pem = copy_first(config->exec_answer.key_pem, config->key_pem, config->key_file.text);
    return 0;
}

int kube_config_credential(struct kube_config *config, bool refused, struct kube_credential *credential, struct error *err)
{
    int result;

    *credential = (struct kube_credential){ 0 };
    pthread_mutex_lock(&config->lock);
    result = refresh_files(config, refused, err);
    if (result == 0)
        result = refresh_plugin(config, refused, err);
    if (result == 0)
        result = copy_credential(config, credential, err);
    pthread_mutex_unlock(&config->lock);
    return result < 0 ? error_wrap(err, "credentials from %s", config->origin) : 0;
}
