/* `terminals db`: the schema of the database that the settings name. The sub-commands and their words are those of Alembic,
 * which the original uses. */
#include <getopt.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/read_settings.h"
#include "store/store.h"

struct db_options {
    const char *revision;               /* NULL: not given */
    const struct settings *settings;
};

struct db_action {
    const char *name;
    bool look_only;
    int (*run)(const struct db_options *options, struct error *err);
};

static int help(FILE *out, int status)
{
    fprintf(out,
            "usage: terminals db ACTION\n\n"
            "  upgrade [--revision REVISION]  bring the schema to REVISION (default: head)\n"
            "  current                        show the schema's revision; changes nothing\n"
            "  stamp [REVISION]               record REVISION (default: head) without changing the schema\n"
            "  revision -m MESSAGE            not available: revisions are made in the program's source\n\n"
            "The database is the one that TERMINALS_DATABASE_URL names. `terminals serve` upgrades it by itself.\n"
            "Known revisions, oldest first:");
    for (size_t i = 0; store_schema_revisions[i]; i++)
        fprintf(out, " %s", store_schema_revisions[i]);
    fprintf(out, "\n");
    return status;
}

/* --- actions ------------------------------------------------------------------------------------------------- */

static const char *head(void)
{
    size_t last = 0;
    while (store_schema_revisions[last + 1])
        last++;
    return store_schema_revisions[last];
}

static int show_current(const struct db_options *options, struct error *err)
{
    cleanup_free char *revision = NULL;
    if (store_schema_current(options->settings->database_url, options->settings->state_dir, &revision, err) < 0)
        return -1;
    if (revision[0] == '\0')
        fprintf(stderr, "The database has no revision yet: `terminals db upgrade` makes its tables.\n");
    else
        printf("%s%s\n", revision, strcmp(revision, head()) == 0 ? " (head)" : "");
    return 0;
}

static int upgrade(const struct db_options *options, struct error *err)
{
    const char *revision = options->revision ? options->revision : "head";
    if (store_schema_upgrade(options->settings->database_url, options->settings->state_dir, revision, err) < 0)
        return -1;
    return show_current(options, err);
}

static int stamp(const struct db_options *options, struct error *err)
{
    const char *revision = options->revision ? options->revision : "head";
    if (store_schema_stamp(options->settings->database_url, options->settings->state_dir, revision, err) < 0)
        return -1;
    return show_current(options, err);
}

static const struct db_action actions[] = {
    { "upgrade", false, upgrade },
    { "current", true, show_current },
    { "stamp", false, stamp },
};

static int explain_revision(void)
{
    fprintf(stderr, "terminals db revision: new schema revisions are made in the source of the program (src/store/schema.c), not "
                    "by a command.\nTo bring a database to the newest one, use `terminals db upgrade`.\n");
    return 2;
}

/* --- the command line ---------------------------------------------------------------------------------------- */

/* False: the command line is wrong. `argv` begins with the action. A revision may be an option or a plain argument. */
static bool parse_revision(int argc, char **argv, const char **revision)
{
    static const struct option known[] = { { "revision", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
    int option;
    bool takes_one = strcmp(argv[0], "current") != 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "r:", known, NULL)) != -1) {
        if (option != 'r')
            return false;
        *revision = optarg;
    }
    if (takes_one && optind < argc && !*revision)
        *revision = argv[optind++];
    if (optind < argc)
        fprintf(stderr, "terminals db: unexpected argument '%s'\n", argv[optind]);
    return optind == argc && (takes_one || !*revision);
}

static int run_action(const struct db_action *action, const char *revision)
{
    struct error err = { 0 };
    struct settings *settings = read_settings_for("terminals db", action->look_only);
    if (!settings)
        return 1;
    int result = action->run(&(struct db_options){ revision, settings }, &err);
    if (result < 0)
        fprintf(stderr, "terminals db %s: %s\n", action->name, err.text);
    settings_free(settings);
    return result < 0 ? 1 : 0;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int command_db(int argc, char **argv)
{
    const char *revision = NULL;
    if (asks_for_help(argc, argv))
        return help(stdout, 0);
    if (argc < 2)
        return help(stderr, 2);
    if (strcmp(argv[1], "revision") == 0)
        return explain_revision();
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (strcmp(argv[1], actions[i].name) == 0)
            return parse_revision(argc - 1, argv + 1, &revision) ? run_action(&actions[i], revision) : help(stderr, 2);
    fprintf(stderr, "terminals db: unknown action '%s'\n", argv[1]);
    return help(stderr, 2);
}
