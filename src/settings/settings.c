/* Loads the settings: for each row of the table the text in force is found (option, environment, `.env`, default), read
 * into its place, and remembered for printing. What concerns more than one row is settled afterwards. Nothing stops
 * at the first mistake. */
#include "settings/settings.h"

#include <sched.h>
#include <strings.h>

#include "base/secret.h"
#include "settings/environment.h"
#include "settings/state_dir.h"
#include "settings/table.h"

struct loading {
    struct settings *settings;
    const struct settings_options *options;
    struct environment environment;
    struct buf *problems, *warnings;
};

struct setting_source *setting_source_at(const struct settings *settings, size_t offset)
{
    for (size_t i = 0; i < settings_table_count; i++)
        if (settings_table[i].offset == offset)
            return &settings->sources[i];
    ASSERT(!"every member has a row");
    return NULL;
}

#define SOURCE(settings, member) setting_source_at((settings), offsetof(struct settings, member))

/* --- problems ------------------------------------------------------------------------------------------------ */

/* `text` for a line: without control characters, cut when long. */
static void append_shown(struct buf *line, const char *text)
{
    size_t len = strlen(text), shown = len > 100 ? 100 : len;
    while (shown < len && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    for (size_t i = 0; i < shown; i++)
        buf_append_char(line, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
    if (shown < len)
        buf_append_text(line, "…");
}

static const char *option_name(const struct setting *setting)
{
    return setting->offset == offsetof(struct settings, port) ? "--port"
         : setting->offset == offsetof(struct settings, workers) ? "--workers"
         : setting->offset == offsetof(struct settings, api_keys) ? "--api-key" : "--host";
}

static void add_problem(struct loading *loading, const struct setting *setting, const struct setting_source *source,
                        const struct error *err)
{
    cleanup_free char *masked = setting_masked(setting, source->text);
    buf_append_text(loading->problems, source->origin == ORIGIN_OPTION ? option_name(setting) : setting->name);
    buf_append_text(loading->problems, source->origin == ORIGIN_OPTION ? " " : "=");
    append_shown(loading->problems, masked);
    if (source->origin == ORIGIN_DOTENV)
        buf_append_text(loading->problems, " (in .env)");
    buf_printf(loading->problems, ": %s\n", err->text);
}

/* --- one row ------------------------------------------------------------------------------------------------- */

/* What the command line says about the row, or NULL. The caller frees. */
static char *text_of_option(const struct settings_options *options, const struct setting *setting)
{
    if (!options)
        return NULL;
    if (setting->offset == offsetof(struct settings, host) && options->host)
        return xstrdup(options->host);
    if (setting->offset == offsetof(struct settings, api_keys) && options->api_key)
        return xstrdup(options->api_key);
    if (setting->offset == offsetof(struct settings, port) && options->port >= 0)
        return xasprintf("%lld", (long long)options->port);
    if (setting->offset == offsetof(struct settings, workers) && options->workers >= 0)
        return xasprintf("%lld", (long long)options->workers);
    if (setting->offset == offsetof(struct settings, open) && options->open)
        return xstrdup("true");
    return NULL;
}

/* A Kubernetes service called "terminals" puts TERMINALS_PORT=tcp://… into the pods of its namespace. */
static bool is_service_link(const char *text)
{
    return strncasecmp(text, "tcp://", 6) == 0 || strncasecmp(text, "udp://", 6) == 0;
}

/* Whether `text` counts as not given. An option that is merely empty is a mistake where the type does not know blanks. */
static bool is_blank(const struct setting *setting, const char *text)
{
    return setting->type->blank_is_empty && str_trim(str_from(text)).len == 0;
}

static bool is_given(const struct setting *setting, const struct variable *variable)
{
    return variable && variable->value[0] != '\0' && !is_blank(setting, variable->value);
}

/* The row's variable from one origin, by its name or its alias, or NULL when neither is there. An empty one is found too, unless the
 * other says something. */
static const struct variable *find_in(struct loading *loading, const struct setting *setting, enum setting_origin origin)
{
    const struct variable *named = environment_find(&loading->environment, setting->name, origin);
    const struct variable *alias = setting->alias ? environment_find(&loading->environment, setting->alias, origin) : NULL;
    if (is_given(setting, named) && is_given(setting, alias) && strcmp(named->value, alias->value) != 0)
        buf_printf(loading->warnings, "%s is ignored: %s is set too\n", setting->alias, setting->name);
    const struct variable *found = !named || (is_given(setting, alias) && !is_given(setting, named)) ? alias : named;
    if (found && is_service_link(found->value) && setting->offset == offsetof(struct settings, port)) {
        buf_printf(loading->warnings, "%s=%s is ignored: it describes a service of the cluster\n", setting->name, found->value);
        return NULL;
    }
    return found;
}

/* NULL: not given. What is in the environment hides what is in `.env`, also where it is empty: so it can be switched off. */
static const struct variable *find_variable(struct loading *loading, const struct setting *setting)
{
    const struct variable *found = find_in(loading, setting, ORIGIN_ENVIRONMENT);
    if (!found)
        found = find_in(loading, setting, ORIGIN_DOTENV);
    return is_given(setting, found) ? found : NULL;
}

static struct setting_source find_source(struct loading *loading, const struct setting *setting)
{
    cleanup_free char *option = text_of_option(loading->options, setting);
    if (option && !is_blank(setting, option))
        return (struct setting_source){ steal(&option), ORIGIN_OPTION };
    const struct variable *variable = find_variable(loading, setting);
    if (variable)
        return (struct setting_source){ xstrdup(variable->value), variable->origin };
    return (struct setting_source){ setting->fallback ? xstrdup(setting->fallback) : NULL, ORIGIN_DEFAULT };
}

static void load_row(struct loading *loading, size_t row)
{
    const struct setting *setting = &settings_table[row];
    struct setting_source *source = &loading->settings->sources[row];
    struct error err = { 0 };
    *source = find_source(loading, setting);
    if (source->text && setting->type->read(setting, source->text, setting_place(loading->settings, setting), &err) < 0)
        add_problem(loading, setting, source, &err);
}

/* --- names that are not ours --------------------------------------------------------------------------------- */

static bool is_known(const char *name)
{
    for (size_t i = 0; i < settings_table_count; i++)
        if (strcasecmp(name, settings_table[i].name) == 0 ||
            (settings_table[i].alias && strcasecmp(name, settings_table[i].alias) == 0))
            return true;
    return false;
}

/* What Kubernetes and Docker links put into the environment for a service called "terminals". */
static bool is_of_service_link(const struct variable *variable)
{
    return strncmp(variable->name, "TERMINALS_SERVICE_", 18) == 0 || strncmp(variable->name, "TERMINALS_PORT_", 15) == 0;
}

static void warn_unknown(struct loading *loading)
{
    for (size_t i = 0; i < loading->environment.count; i++) {
        const struct variable *variable = &loading->environment.items[i];
        if (!is_known(variable->name) && !is_of_service_link(variable))
            buf_printf(loading->warnings, "%s%s is not a known setting and is ignored\n", variable->name,
                       variable->origin == ORIGIN_DOTENV ? " (in .env)" : "");
    }
}

/* --- what concerns several rows ------------------------------------------------------------------------------ */

static void replace_text(char **place, char *text)
{
    free(*place);
    *place = text;
}

static void settle_state_dir(struct loading *loading)
{
    struct settings *settings = loading->settings;
    struct setting_source *source = SOURCE(settings, state_dir);
    struct error err = { 0 };
    if (!settings->state_dir && source->origin != ORIGIN_DEFAULT)
        return;
    if (!settings->state_dir)
        settings->state_dir = state_dir_default();
    if (!settings->state_dir) {
        buf_append_text(loading->problems, SETTING_PREFIX "STATE_DIR: the working directory does not exist any more\n");
        return;
    }
    replace_text(&source->text, xstrdup(settings->state_dir));
    if (state_dir_prepare(settings->state_dir, loading->options && loading->options->look_only, &err) < 0)
        buf_printf(loading->problems, SETTING_PREFIX "STATE_DIR=%s: %s\n", settings->state_dir, err.text);
}

static void settle_database_url(struct settings *settings)
{
    struct setting_source *source = SOURCE(settings, database_url);
    if (settings->database_url || source->origin != ORIGIN_DEFAULT || !settings->state_dir)
        return;
    settings->database_url = xasprintf("sqlite:///%s/terminals.db", settings->state_dir);
    replace_text(&source->text, xstrdup(settings->database_url));
}

/* The cores that this process may run on. */
static unsigned count_cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : (unsigned)count;
}

static void settle_workers(struct settings *settings)
{
    struct setting_source *source = SOURCE(settings, workers);
    if (source->origin != ORIGIN_DEFAULT)
        return;
    settings->workers = count_cores();
    replace_text(&source->text, xasprintf("%u", settings->workers));
}

/* Open mode holds only where nothing else says who may call, and then stays on loopback unless told otherwise. */
static void settle_open_mode(struct loading *loading)
{
    struct settings *settings = loading->settings;
    struct setting_source *host = SOURCE(settings, host);
    settings->host_is_named = host->origin != ORIGIN_DEFAULT;
    if (!settings->open)
        return;
    if (settings->api_keys.count > 0 || settings->open_webui_url) {
        buf_printf(loading->warnings, SETTING_PREFIX "OPEN has no effect: %s is set, and decides who may call\n",
                   settings->open_webui_url ? SETTING_PREFIX "OPEN_WEBUI_URL" : SETTING_PREFIX "API_KEY");
        return;
    }
    if (!settings->host_is_named) {
        replace_text(&settings->host, xstrdup("127.0.0.1"));
        replace_text(&host->text, xstrdup("127.0.0.1"));
    }
}

/* "https://chat.example.com//" → "https://chat.example.com". */
static void strip_trailing_slashes(char *url)
{
    for (size_t len = url ? strlen(url) : 0; len > 0 && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
}

static void warn_ignored(struct loading *loading)
{
    struct settings *settings = loading->settings;
    enum log_level level;
    const char *log_level = SOURCE(settings, log_level)->text;
    cleanup_free char *trimmed = str_dup(str_trim(str_from(log_level)));
    if (!log_level_from_name(trimmed, &level)) {
        buf_append_text(loading->warnings, SETTING_PREFIX "LOG_LEVEL=");
        append_shown(loading->warnings, log_level);
        buf_append_text(loading->warnings, " is not known, INFO is used; known are DEBUG, INFO, WARNING and ERROR\n");
    }
    if (settings->ignored_ws_compression)
        buf_append_text(loading->warnings, SETTING_PREFIX "WS_COMPRESSION is ignored: WebSockets are never compressed\n");
    if (settings->ignored_replay_body_limit)
        buf_append_text(loading->warnings, SETTING_PREFIX "REPLAY_BODY_LIMIT is ignored: bodies are streamed\n");
    if (settings->docker_host_data_dir && !settings->docker_data_dir)
        buf_append_text(loading->warnings, SETTING_PREFIX "DOCKER_HOST_DATA_DIR is ignored: it needs "
                        SETTING_PREFIX "DOCKER_DATA_DIR\n");
}

/* --- loading ------------------------------------------------------------------------------------------------- */

static void load_all(struct loading *loading)
{
    environment_read(&loading->environment, loading->problems, loading->warnings);
    for (size_t row = 0; row < settings_table_count; row++)
        load_row(loading, row);
    settle_state_dir(loading);
    settle_database_url(loading->settings);
    settle_workers(loading->settings);
    settle_open_mode(loading);
    strip_trailing_slashes(loading->settings->open_webui_url);
    warn_ignored(loading);
    warn_unknown(loading);
    environment_free(&loading->environment);
}

struct settings *settings_load(const struct settings_options *options, struct buf *problems, struct buf *warnings)
{
    struct loading loading = { .options = options, .problems = problems, .warnings = warnings };
    size_t problems_before = problems->len;
    loading.settings = xcalloc(1, sizeof(*loading.settings));
    loading.settings->sources = xcalloc(settings_table_count, sizeof(*loading.settings->sources));
    load_all(&loading);
    if (problems->len == problems_before)
        return loading.settings;
    settings_free(loading.settings);
    return NULL;
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    for (size_t row = 0; row < settings_table_count; row++) {
        if (settings_table[row].type->free)
            settings_table[row].type->free(setting_place(settings, &settings_table[row]));
        secret_free(settings->sources[row].text);
    }
    free(settings->sources);
    free(settings);
}
