/* Gathers our variables. Everything is copied: setenv() by others cannot pull a value away. */
#include "settings/environment.h"

#include <strings.h>
#include <unistd.h>

#include "base/file.h"

#define DOTENV_LIMIT (1024 * 1024)

static bool is_ours(struct str name)
{
    struct str prefix = STR_LITERAL(SETTING_PREFIX);
    return str_equal_nocase(name, STR_LITERAL("OPEN_TERMINAL_SYSTEM_PROMPT")) ||
           (name.len > prefix.len && str_equal_nocase(str_of(name.data, prefix.len), prefix));
}

static void add_variable(struct environment *environment, struct str name, char *value, enum setting_origin origin)
{
    environment->items = xrealloc(environment->items, (environment->count + 1) * sizeof(*environment->items));
    environment->items[environment->count++] = (struct variable){ str_dup(name), value, origin };
}

static void add_from_dotenv(void *context, struct str name, char *value)
{
    if (is_ours(name))
        add_variable(context, name, value, ORIGIN_DOTENV);
    else
        free(value);
}

static void read_dotenv(struct environment *environment, struct buf *problems, struct buf *warnings)
{
    cleanup_free char *text = NULL;
    size_t len = 0;
    struct error err = { 0 };
    if (access(".env", F_OK) != 0)
        return;
    if (file_read(".env", DOTENV_LIMIT, &text, &len, &err) < 0)
        buf_printf(problems, ".env cannot be read: %s\n", err.text);
    else if (!str_is_utf8(str_of(text, len)) || memchr(text, '\0', len))
        buf_append_text(problems, ".env is not UTF-8 text\n");
    else
        dotenv_parse(str_of(text, len), add_from_dotenv, environment, problems, warnings);
}

static void read_process_environment(struct environment *environment, struct buf *problems)
{
    for (char **entry = environ; *entry; entry++) {
        struct str text = str_from(*entry);
        size_t equals = str_find_char(text, '=');
        if (equals == SIZE_MAX || !is_ours(str_of(text.data, equals)))
            continue;
        struct str value = str_skip(text, equals + 1);
        if (str_is_utf8(text))
            add_variable(environment, str_of(text.data, equals), str_dup(value), ORIGIN_ENVIRONMENT);
        else
            buf_printf(problems, "%.*s: the value is not UTF-8 text\n", (int)equals, text.data);
    }
}

void environment_read(struct environment *environment, struct buf *problems, struct buf *warnings)
{
    read_dotenv(environment, problems, warnings);
    read_process_environment(environment, problems);
}

const struct variable *environment_find(const struct environment *environment, const char *name,
                                        enum setting_origin origin)
{
    for (size_t i = environment->count; i-- > 0;) {
        const struct variable *variable = &environment->items[i];
        if (variable->origin == origin && strcasecmp(variable->name, name) == 0)
            return variable;
    }
    return NULL;
}

void environment_free(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++) {
        free(environment->items[i].name);
        explicit_bzero(environment->items[i].value, strlen(environment->items[i].value));
        free(environment->items[i].value);
    }
    free(environment->items);
    *environment = (struct environment){ 0 };
}
