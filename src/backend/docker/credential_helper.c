/* Runs a docker-credential-* program: the server's name on its standard input, {"ServerURL","Username","Secret"} on its standard output.
 * The program gets no more than ten seconds. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "backend/docker/registry.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

#define TIME_LIMIT_MS 10000
#define OUTPUT_MAX (64u << 10)

extern char **environ;

/* The name becomes part of a program's name, so it may hold nothing that a path could. */
static bool helper_name_is_plain(const char *helper)
{
    return *helper && strspn(helper, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(helper);
}

static int spawn(const char *program, int input, int output, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    char *const argv[] = { (char *)program, (char *)"get", NULL };
    int failed;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    failed = posix_spawnp(pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Reads until the end of the output; false when the time is over or there is too much. */
static bool read_output(int fd, struct buf *output)
{
    int64_t deadline = clock_monotonic_ms() + TIME_LIMIT_MS;

    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        char *room = buf_reserve(output, 4096);
        ssize_t got;

        if (!room || left <= 0 || poll(&poll_fd, 1, (int)left) == 0)
            return false;
        got = read(fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        output->len += (size_t)got;
    }
}

/* A pipe that holds the whole input already: a server's name fits, nobody has to read meanwhile. Negative on failure. */
static int filled_pipe(const char *text, struct error *err)
{
    int ends[2];
    ssize_t written;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, ERR_IO, errno, "pipe");
    written = write(ends[1], text, strlen(text));
    close(ends[1]);
    if (written == (ssize_t)strlen(text))
        return ends[0];
    close(ends[0]);
    return error_set(err, ERR_IO, "the server's name is too long");
}

/* Starts the program; `*output` is the end to read from. */
static int start(const char *program, const char *server, pid_t *pid, int *output, struct error *err)
{
    cleanup_fd int input = filled_pipe(server, err);
    int ends[2], failed;

    if (input < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, ERR_IO, errno, "pipe");
    failed = spawn(program, input, ends[1], pid);
    close(ends[1]);
    *output = ends[0];
    return failed ? error_set_errno(err, ERR_IO, failed, "%s", program) : 0;
}

static int describe_failure(const char *program, struct str output, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "%s: %.*s", program, output.len > 0 ? (int)(output.len < 200 ? output.len : 200) : 6,
                     output.len > 0 ? output.data : "failed");
}

static int run(const char *program, const char *server, struct buf *output, struct error *err)
{
    cleanup_fd int out_read = -1;
    int status = 0;
    bool complete;
    pid_t pid;

    if (start(program, server, &pid, &out_read, err) < 0)
        return -1;
    complete = read_output(out_read, output);
    if (!complete)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!complete)
        return error_set(err, ERR_TIMEOUT, "%s did not answer in %d s", program, TIME_LIMIT_MS / 1000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return describe_failure(program, str_trim(buf_str(output)), err);
    return 0;
}

json_t *credential_helper_get(const char *helper, const char *server, struct error *err)
{
    cleanup_buf struct buf output = { .limit = OUTPUT_MAX };
    cleanup_free char *program = xasprintf("docker-credential-%s", helper);

    if (!helper_name_is_plain(helper)) {
        (void)error_set(err, ERR_INVALID, "'%s' is no name of a credential helper", helper);
        return NULL;
    }
    if (run(program, server, &output, err) < 0)
        return NULL;
    return json_read(str_trim(buf_str(&output)), err);
}
