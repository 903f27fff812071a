/* The table of subcommands. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    { "serve", "serve terminals over HTTP", command_serve },
    { "operator", "run Terminal resources on Kubernetes", command_operator },
    { "db", "look at, upgrade or stamp the database's schema", command_db },
    { "config", "show the effective settings", command_config },
    { "doctor", "check what the service needs and say what to do", command_doctor },
};

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: terminals COMMAND [options]\n\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n`terminals COMMAND --help` tells more. `terminals --version` shows the version.\n");
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr, 2);
    if (strcmp(argv[1], "--version") == 0) {
        printf("terminals %s\n", TERMINALS_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "terminals: unknown command '%s'\n", argv[1]);
    return usage(stderr, 2);
}
