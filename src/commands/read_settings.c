/* One line on standard error for each warning and each problem. */
#include "commands/read_settings.h"

static void print_lines(const char *command, const char *kind, struct str lines)
{
    struct str line;
    while (str_next_part(&lines, '\n', &line))
        if (line.len > 0)
            fprintf(stderr, "%s: %s: %.*s\n", command, kind, STR_ARG(line));
}

struct settings *read_settings_for(const char *command, bool look_only)
{
    cleanup_buf struct buf problems = { 0 }, warnings = { 0 };
    const struct settings_options options = { .port = -1, .workers = -1, .look_only = look_only };
    struct settings *settings = settings_load(&options, &problems, &warnings);
    print_lines(command, "warning", buf_str(&warnings));
    print_lines(command, "error", buf_str(&problems));
    return settings;
}
