/* `terminals operator`: the controller of Terminal resources until a signal ends it. Main thread. */
#include "commands/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "commands/read_settings.h"
#include "http/client.h"
#include "operator/operator.h"

static int help(FILE *out, int status)
{
    fputs("usage: terminals operator\n\n"
          "Runs Terminal resources: makes and keeps the home, key, service and pod of each. Several replicas may run; one acts.\n"
          "Settings come from TERMINALS_… variables and from .env in the working directory; `terminals config --help` lists them.\n"
          "The resource's definition is deploy/kubernetes/crd.yaml.\n", out);
    return status;
}

static void block_signals(sigset_t *awaited)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(awaited);
    sigaddset(awaited, SIGTERM);
    sigaddset(awaited, SIGINT);
    pthread_sigmask(SIG_BLOCK, awaited, NULL);
}

static int run(const struct settings *settings, const sigset_t *awaited)
{
    struct error err;
    int number = 0;
    struct operator *operator = operator_start(settings, &err);

    if (!operator) {
        log_error("cannot start", LOG_ERR(&err));
        return 1;
    }
    log_info("the operator runs", LOG_STR("group", settings->kubernetes_crd_group), LOG_STR("namespace", settings->kubernetes_namespace),
             LOG_INT("port", settings->operator_port), LOG_STR("version", TERMINALS_VERSION));
    (void)sigwait(awaited, &number);
    log_info("stopping: terminals keep running", LOG_STR("signal", strsignal(number)));
    pthread_sigmask(SIG_UNBLOCK, awaited, NULL);        /* a second signal ends the process at once */
    operator_stop(operator);
    log_info("stopped");
    return 0;
}

int command_operator(int argc, char **argv)
{
    sigset_t awaited;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help(stdout, 0);
    if (argc > 1) {
        fprintf(stderr, "terminals operator: unexpected argument '%s'\n", argv[1]);
        return help(stderr, 2);
    }
    block_signals(&awaited);
    http_client_global_init();
    struct settings *settings = read_settings_for("terminals operator", true);
    if (!settings)
        return 1;
    log_configure(settings->log_level, settings->log_json);
    int status = run(settings, &awaited);
    settings_free(settings);
    return status;
}
