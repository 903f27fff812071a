/* The settings for people. `settings_print()` writes what could stand in a `.env` file, but for the masked secrets. */
#include "settings/table.h"
#include "settings/types.h"

#define MASK "********"

/* "scheme://user:password@host/…" with the password replaced, also in a query; the caller frees. */
static char *mask_password(const char *url)
{
    const char *authority = strstr(url, "://");
    const char *end = authority ? authority + 3 + strcspn(authority + 3, "/?#") : NULL;
    const char *at = end ? memrchr(authority, '@', (size_t)(end - authority)) : NULL;
    const char *colon = at ? memchr(authority + 3, ':', (size_t)(at - authority - 3)) : NULL;
    const char *query = strchr(at ? at : url, '?');
    int rest = query ? (int)(query - (at ? at : url)) : (int)strlen(at ? at : url);
    const char *query_mask = query ? "?" MASK : "";
    if (!colon)
        return xasprintf("%.*s%.*s%s", at ? (int)(at - url) : 0, url, rest, at ? at : url, query_mask);
    return xasprintf("%.*s:" MASK "%.*s%s", (int)(colon - url), url, rest, at, query_mask);
}

char *setting_masked(const struct setting *setting, const char *text)
{
    if (!setting->secret)
        return xstrdup(text);
    return setting->type == &type_secret_list ? xstrdup(MASK) : mask_password(text);
}

static bool needs_quotes(const char *text)
{
    return text[0] == '\0' || text[0] == '\'' || text[0] == '"' || text[0] == '#' || text[strcspn(text, " \t\r\n")] != '\0';
}

static void print_value(FILE *out, const char *text)
{
    if (!needs_quotes(text)) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++)
        fprintf(out, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('\'', out);
}

void settings_print(const struct settings *settings, FILE *out)
{
    static const char *const marks[] = {
        [ORIGIN_DEFAULT] = "  # default", [ORIGIN_DOTENV] = "  # .env", [ORIGIN_ENVIRONMENT] = "",
        [ORIGIN_OPTION] = "  # option",
    };
    for (size_t row = 0; row < settings_table_count; row++) {
        const struct setting_source *source = &settings->sources[row];
        fprintf(out, "%s=", settings_table[row].name);
        if (source->text) {
            cleanup_free char *masked = setting_masked(&settings_table[row], source->text);
            print_value(out, masked);
        }
        fprintf(out, "%s\n", marks[source->origin]);
    }
}

void settings_print_help(FILE *out)
{
    for (size_t row = 0; row < settings_table_count; row++) {
        const struct setting *setting = &settings_table[row];
        const char *fallback = setting->fallback_shown ? setting->fallback_shown : setting->fallback;
        fprintf(out, "%s", setting->name);
        if (setting->alias)
            fprintf(out, " (or %s)", setting->alias);
        fprintf(out, "\n    %s.%s\n", setting->help, setting->reloadable ? " Read again on SIGHUP." : "");
        if (fallback)
            fprintf(out, "    Default: %s\n", fallback);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

void settings_warn_restart(const struct settings *running, const struct settings *fresh, struct buf *warnings)
{
    for (size_t row = 0; row < settings_table_count; row++)
        if (!settings_table[row].reloadable && !same_text(running->sources[row].text, fresh->sources[row].text))
            buf_printf(warnings, "%s was changed: it takes effect after a restart\n", settings_table[row].name);
}
