/* Credential plugins (client.authentication.k8s.io): a program that gets a question in KUBERNETES_EXEC_INFO and prints an ExecCredential.
 *
 * It is never interactive, has a minute, and runs in a process group of its own, so that what it started ends with it when that minute is over. What it leaves
 * behind when it ended in time, such as an agent that keeps a session, lives on and is not waited for, whatever it holds open. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "kubernetes/config_parts.h"

#define GROUP "client.authentication.k8s.io/"
#define TIME_LIMIT_MS 60000
#define LOOK_MS 10                      /* how often is looked whether it has ended while it prints nothing */
#define OUTPUT_MAX (1u << 20)
#define COMPLAINT_MAX 400u

extern char **environ;

/* --- the section of the kubeconfig ------------------------------------------------------------------------------ */

static void free_texts(char **texts)
{
    for (char **text = texts; text && *text; text++)
        secret_free(*text);
    free(texts);
}

void kube_exec_clear(struct kube_exec *exec)
{
    free(exec->command);
    free(exec->api_version);
    free(exec->install_hint);
    free_texts(exec->arguments);
    free_texts(exec->environment);
    json_decref(exec->cluster);
    *exec = (struct kube_exec){ 0 };
}

static int read_arguments(const json_t *section, struct kube_exec *exec, struct error *err)
{
    const json_t *list = json_object_get(section, "args"), *item;
    size_t i;

    exec->arguments = xcalloc(json_array_size(list) + 1, sizeof(char *));
    json_array_foreach(list, i, item) {
        if (!json_is_string(item))
            return error_set(err, ERR_INVALID, "user.exec.args[%zu] is not a text", i);
        exec->arguments[i] = xstrdup(json_string_value(item));
    }
    return 0;
}

static int read_environment(const json_t *section, struct kube_exec *exec, struct error *err)
{
    const json_t *list = json_object_get(section, "env"), *item;
    size_t i;

    exec->environment = xcalloc(json_array_size(list) + 1, sizeof(char *));
    json_array_foreach(list, i, item) {
        const char *name = json_text(item, "name"), *value = json_text(item, "value");
        if (!name || !*name || strchr(name, '='))
            return error_set(err, ERR_INVALID, "user.exec.env[%zu] has no name", i);
        exec->environment[i] = xasprintf("%s=%s", name, value ? value : "");
    }
    return 0;
}

/* A command with a '/' is a path, and then relative to the kubeconfig. */
static char *resolve_command(const char *command, const char *directory)
{
    return *command == '/' || !strchr(command, '/') || !*directory ? xstrdup(command) : xasprintf("%s/%s", directory, command);
}

int kube_exec_read(const json_t *section, const char *directory, struct kube_exec *exec, struct error *err)
{
    const char *command = json_text(section, "command"), *version = json_text(section, "apiVersion");
    const char *mode = json_text(section, "interactiveMode"), *hint = json_text(section, "installHint");
    const char *tell_cluster = json_text(section, "provideClusterInfo");

    if (!json_is_object(section))
        return 0;
    if (!command || !*command)
        return error_set(err, ERR_INVALID, "user.exec.command is missing");
    if (!version || (strcmp(version, GROUP "v1") != 0 && strcmp(version, GROUP "v1beta1") != 0))
        return error_set(err, ERR_INVALID, "user.exec.apiVersion must be " GROUP "v1 or v1beta1, not '%.60s'", version ? version : "");
    if (mode && strcmp(mode, "Always") == 0)
        return error_set(err, ERR_INVALID, "user.exec.interactiveMode Always: nobody is there to answer the plugin");
    exec->command = resolve_command(command, directory);
    exec->api_version = xstrdup(version);
    exec->install_hint = hint && *hint ? xstrdup(hint) : NULL;
    exec->limit_ms = TIME_LIMIT_MS;
    exec->cluster = tell_cluster && strcasecmp(tell_cluster, "true") == 0 ? json_object() : NULL;
    return read_arguments(section, exec, err) < 0 || read_environment(section, exec, err) < 0 ? -1 : 0;
}

/* --- its answer -------------------------------------------------------------------------------------------------- */

void kube_exec_answer_clear(struct kube_exec_answer *answer)
{
    secret_free(answer->token);
    free(answer->cert_pem);
    secret_free(answer->key_pem);
    *answer = (struct kube_exec_answer){ 0 };
}

static char *copy_member(const json_t *status, const char *key)
{
    const char *text = json_text(status, key);
    return text && *text ? xstrdup(text) : NULL;
}

static int check_kind(const struct kube_exec *exec, const json_t *root, struct error *err)
{
    const char *kind = json_text(root, "kind"), *version = json_text(root, "apiVersion");

    if (!kind || strcmp(kind, "ExecCredential") != 0)
        return error_set(err, ERR_INVALID, "what it printed is no ExecCredential");
    if (!version || strcmp(version, exec->api_version) != 0)
        return error_set(err, ERR_INVALID, "it answered with apiVersion '%.60s' where %s was asked for", version ? version : "", exec->api_version);
    return 0;
}

int kube_exec_parse(const struct kube_exec *exec, struct str text, struct kube_exec_answer *answer, struct error *err)
{
    cleanup_json json_t *root = json_read_lenient(text, err);
    const json_t *status = json_object_get(root, "status");
    const char *expires = json_text(status, "expirationTimestamp");

    if (!root || check_kind(exec, root, err) < 0)
        return -1;
    *answer = (struct kube_exec_answer){
        .token = copy_member(status, "token"), .cert_pem = copy_member(status, "clientCertificateData"),
        .key_pem = copy_member(status, "clientKeyData"), .expires_us = INT64_MAX,
    };
    int result = 0;
    if (!answer->token && !answer->cert_pem)
        result = error_set(err, ERR_INVALID, "it gave neither a token nor a certificate");
    else if (!answer->cert_pem != !answer->key_pem)
        result = error_set(err, ERR_INVALID, "it gave a certificate or a key without the other");
    else if (expires && !clock_parse_iso(expires, &answer->expires_us))
        result = error_set(err, ERR_INVALID, "its expirationTimestamp is no time: '%.60s'", expires);
    if (result < 0)
        kube_exec_answer_clear(answer);
    return result;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static char *question(const struct kube_exec *exec)
{
    cleanup_json json_t *spec = json_pack("{s:b}", "interactive", 0);

    if (exec->cluster)
        json_object_set(spec, "cluster", exec->cluster);
    cleanup_json json_t *root = json_pack("{s:s, s:s, s:O}", "kind", "ExecCredential", "apiVersion", exec->api_version, "spec", spec);
    cleanup_free char *text = json_write(root);
    return xasprintf("KUBERNETES_EXEC_INFO=%s", text);
}

static bool is_variable(const char *entry, const char *other)
{
    size_t len = strcspn(other, "=");
    return strncmp(entry, other, len) == 0 && entry[len] == '=';
}

static bool is_replaced(const char *entry, char *const *added)
{
    for (; *added; added++) {
        if (is_variable(entry, *added))
            return true;
    }
    return false;
}

/* Our environment with the plugin's variables put over it. The array is the caller's, the texts are not. */
static char **environment_for(const struct kube_exec *exec, char *info)
{
    size_t ours = 0, added = 0, count = 0;
    char *const infos[] = { info, NULL };

    while (environ[ours])
        ours++;
    while (exec->environment[added])
        added++;
    char **result = xcalloc(ours + added + 2, sizeof(char *));
    for (size_t i = 0; i < ours; i++) {
        if (!is_replaced(environ[i], exec->environment) && !is_replaced(environ[i], infos))
            result[count++] = environ[i];
    }
    for (size_t i = 0; i < added; i++) {
        if (!is_replaced(exec->environment[i], infos))
            result[count++] = exec->environment[i];
    }
    result[count] = info;
    return result;
}

static char **argv_for(const struct kube_exec *exec)
{
    size_t count = 0;

    while (exec->arguments[count])
        count++;
    char **argv = xcalloc(count + 2, sizeof(char *));
    argv[0] = exec->command;
    memcpy(argv + 1, exec->arguments, count * sizeof(char *));
    return argv;
}

static int spawn(const struct kube_exec *exec, int output, int complaints, pid_t *pid)
{
    cleanup_free char *info = question(exec);
    cleanup_free char **argv = argv_for(exec), **environment = environment_for(exec, info);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, broken_pipe;

    sigemptyset(&none);
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &broken_pipe);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawnp(pid, exec->command, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Reads what is there. False: the end, or more than the buffer takes. */
static bool read_some(int fd, struct buf *into, bool cut)
{
    char chunk[4096];
    ssize_t got = read(fd, chunk, sizeof(chunk));

    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if (got > 0 && cut) {
        size_t room = COMPLAINT_MAX - into->len, len = (size_t)got < room ? (size_t)got : room;
        return buf_append(into, chunk, len);
    }
    return got > 0 && buf_append(into, chunk, (size_t)got);
}

/* Reads once what comes within `wait_ms`; a pipe that is at its end is let go. False: nothing came. */
static bool read_pipes(struct pollfd pipes[static 2], struct buf *output, struct buf *complaint, int wait_ms)
{
    if (poll(pipes, 2, wait_ms) <= 0)
        return false;
    if (pipes[0].revents && !read_some(pipes[0].fd, output, false))
        pipes[0].fd = -1;
    if (pipes[1].revents && !read_some(pipes[1].fd, complaint, true))
        pipes[1].fd = -1;
    return true;
}

/* Reads until the program has ended, and then what it left in the pipes. Neither says anything about the other: it may close them and live on, or end while
 * something that it started holds them. False: it was not done by the deadline; else `*status` is how it ended. */
static bool gather(pid_t pid, struct pollfd pipes[static 2], int64_t deadline_ms, struct buf *output, struct buf *complaint, int *status)
{
    bool ended = false;

    while (!ended) {
        if (clock_monotonic_ms() >= deadline_ms)
            return false;
        (void)read_pipes(pipes, output, complaint, LOOK_MS);
        ended = waitpid(pid, status, WNOHANG) != 0;
    }
    while (clock_monotonic_ms() < deadline_ms && read_pipes(pipes, output, complaint, 0))
        ;
    return true;
}

/* The first line of what it said, for an error. */
static struct str first_words(const struct buf *complaint)
{
    struct str text = str_trim(buf_str(complaint));
    size_t end = str_find_char(text, '\n');

    return str_trim(end < text.len ? str_of(text.data, end) : text);
}

static int judge_exit(int status, const struct buf *complaint, struct error *err)
{
    struct str words = first_words(complaint);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return error_set(err, ERR_UNAVAILABLE, "it ended with status %d: %.*s", WEXITSTATUS(status), STR_ARG(words));
    return error_set(err, ERR_UNAVAILABLE, "it was ended by signal %d", WTERMSIG(status));
}

/* Waits for the program, which is killed with all that it started when its time is over. */
static int collect(pid_t pid, unsigned limit_ms, int output_fd, int complaint_fd, struct buf *output, struct error *err)
{
    cleanup_buf struct buf complaint = { 0 };
    struct pollfd pipes[2] = { { .fd = output_fd, .events = POLLIN }, { .fd = complaint_fd, .events = POLLIN } };
    int status = 0;

    if (gather(pid, pipes, clock_monotonic_ms() + limit_ms, output, &complaint, &status))
        return judge_exit(status, &complaint, err);
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return error_set(err, ERR_TIMEOUT, "it did not end within %u s", limit_ms / 1000);
}

static int run(const struct kube_exec *exec, struct buf *output, struct error *err)
{
    cleanup_fd int out_read = -1, out_write = -1, complaint_read = -1, complaint_write = -1;
    int out[2], complaint[2], failed;
    pid_t pid;

    if (pipe2(out, O_CLOEXEC) < 0)
        return error_set_errno(err, ERR_IO, errno, "pipe");
    out_read = out[0];
    out_write = out[1];
    if (pipe2(complaint, O_CLOEXEC) < 0)
        return error_set_errno(err, ERR_IO, errno, "pipe");
    complaint_read = complaint[0];
    complaint_write = complaint[1];
    failed = spawn(exec, out_write, complaint_write, &pid);
    if (failed)
        return error_set_errno(err, ERR_NOT_FOUND, failed, "it cannot be run%s%s", exec->install_hint ? "; " : "",
                               exec->install_hint ? exec->install_hint : "");
    (void)close(out_write);
    (void)close(complaint_write);
    out_write = complaint_write = -1;
    return collect(pid, exec->limit_ms, out_read, complaint_read, output, err);
}

int kube_exec_run(const struct kube_exec *exec, struct kube_exec_answer *answer, struct error *err)
{
    struct buf output = { .limit = OUTPUT_MAX };
    int result = run(exec, &output, err);

    if (result == 0)
        result = kube_exec_parse(exec, str_trim(buf_str(&output)), answer, err);
    if (output.data)
        explicit_bzero(output.data, output.len);
    buf_free(&output);
    return result < 0 ? error_wrap(err, "credential plugin %s", exec->command) : 0;
}
