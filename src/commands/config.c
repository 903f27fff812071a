/* `terminals config`: the settings in force, in the form of a `.env` file, secrets masked. */
#include <string.h>

#include "commands/commands.h"
#include "commands/read_settings.h"

static int help(FILE *out, int status)
{
    fprintf(out,
            "usage: terminals config [--help]\n\n"
            "Shows the effective settings, one NAME=value line each, with secrets masked and defaults marked.\n"
            "Settings come from the environment and from the file .env in the working directory; the\n"
            "environment wins. All that is wrong is shown at once, with exit status 1.\n");
    return status;
}

static int help_with_table(void)
{
    help(stdout, 0);
    printf("\n");
    settings_print_help(stdout);
    return 0;
}

static int show(void)
{
    struct settings *settings = read_settings_for("terminals config", true);
    if (!settings)
        return 1;
    settings_print(settings, stdout);
    settings_free(settings);
    return fflush(stdout) == 0 ? 0 : 1;
}

int command_config(int argc, char **argv)
{
    if (argc == 1)
        return show();
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help_with_table();
    fprintf(stderr, "terminals config: unexpected argument '%s'\n", argv[1]);
    return help(stderr, 2);
}
