/* The `.env` file, read in one pass from front to back. A cursor walks the text; each function takes one thing off its
 * front. No variable is expanded: "${X}" in a password stays what it is. */
#include "settings/environment.h"

struct cursor {
    struct str rest;
    unsigned line;
};

static char cursor_peek(const struct cursor *cursor)
{
    return cursor->rest.len > 0 ? cursor->rest.data[0] : '\0';
}

static char cursor_take(struct cursor *cursor)
{
    char c = cursor_peek(cursor);
    cursor->rest = str_skip(cursor->rest, 1);
    if (c == '\n')
        cursor->line++;
    return c;
}

static void skip_blanks(struct cursor *cursor)
{
    while (cursor_peek(cursor) == ' ' || cursor_peek(cursor) == '\t')
        (void)cursor_take(cursor);
}

/* The rest of the line, without its end. */
static struct str take_line(struct cursor *cursor)
{
    size_t end = str_find_char(cursor->rest, '\n');
    struct str line = str_of(cursor->rest.data, end == SIZE_MAX ? cursor->rest.len : end);
    cursor->rest = str_skip(cursor->rest, line.len + 1);
    cursor->line++;
    return line;
}

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

static struct str take_name(struct cursor *cursor)
{
    size_t len = 0;
    while (len < cursor->rest.len && is_name_char(cursor->rest.data[len]))
        len++;
    struct str name = str_of(cursor->rest.data, len);
    cursor->rest = str_skip(cursor->rest, len);
    return name;
}

/* In double quotes \n, \t and \r mean what they say; every other escaped character stands for itself. In single
 * quotes only the quote and the backslash can be escaped. */
static void append_escaped(struct buf *value, char quote, char escaped)
{
    if (quote == '\'' && escaped != '\'' && escaped != '\\') {
        buf_append_char(value, '\\');
        buf_append_char(value, escaped);
        return;
    }
    if (quote == '"' && escaped == 'n')
        escaped = '\n';
    else if (quote == '"' && escaped == 't')
        escaped = '\t';
    else if (quote == '"' && escaped == 'r')
        escaped = '\r';
    buf_append_char(value, escaped);
}

/* False: the text ends inside the quotes. */
static bool take_quoted(struct cursor *cursor, struct buf *value)
{
    char quote = cursor_take(cursor);
    while (cursor->rest.len > 0) {
        char c = cursor_take(cursor);
        if (c == quote)
            return true;
        if (c == '\\' && cursor->rest.len > 0)
            append_escaped(value, quote, cursor_take(cursor));
        else
            buf_append_char(value, c);
    }
    return false;
}

/* Up to the end of the line or to a '#' after a blank. */
static void take_bare(struct cursor *cursor, bool after_blank, struct buf *value)
{
    struct str line = take_line(cursor);
    size_t len = 0;
    for (; len < line.len && !(line.data[len] == '#' && after_blank); len++)
        after_blank = line.data[len] == ' ' || line.data[len] == '\t';
    buf_append_str(value, str_trim(str_of(line.data, len)));
}

static void skip_export(struct cursor *cursor)
{
    if (!str_starts_with(cursor->rest, STR_LITERAL("export ")) && !str_starts_with(cursor->rest, STR_LITERAL("export\t")))
        return;
    cursor->rest = str_skip(cursor->rest, 7);
    skip_blanks(cursor);
}

/* The value after '='. False: a quote is not closed. */
static bool take_value(struct cursor *cursor, struct buf *value, struct buf *warnings)
{
    char before = cursor_peek(cursor);
    skip_blanks(cursor);
    char first = cursor_peek(cursor);
    if (first != '"' && first != '\'') {
        take_bare(cursor, before == ' ' || before == '\t', value);
        return true;
    }
    if (!take_quoted(cursor, value))
        return false;
    unsigned line = cursor->line;
    struct str after = str_trim(take_line(cursor));
    if (after.len > 0 && after.data[0] != '#')
        buf_printf(warnings, ".env line %u: what stands after the closing quote is ignored\n", line);
    return true;
}

void dotenv_parse(struct str text, void (*found)(void *context, struct str name, char *value), void *context,
                  struct buf *problems, struct buf *warnings)
{
    struct cursor cursor = { text, 1 };
    if (str_starts_with(text, STR_LITERAL("\xef\xbb\xbf")))
        cursor.rest = str_skip(text, 3);
    while (cursor.rest.len > 0) {
        cleanup_buf struct buf value = { 0 };
        unsigned line = cursor.line;
        skip_blanks(&cursor);
        skip_export(&cursor);
        struct str name = take_name(&cursor);
        skip_blanks(&cursor);
        if (name.len == 0 || cursor_peek(&cursor) != '=') {
            struct str other = str_trim(take_line(&cursor));
            if (name.len > 0 || (other.len > 0 && other.data[0] != '#'))
                buf_printf(warnings, ".env line %u: not of the form NAME=VALUE, ignored\n", line);
            continue;
        }
        (void)cursor_take(&cursor);
        if (!take_value(&cursor, &value, warnings)) {
            buf_printf(problems, ".env line %u: the quote is never closed\n", line);
            return;
        }
        found(context, name, str_dup(buf_str(&value)));
    }
}
