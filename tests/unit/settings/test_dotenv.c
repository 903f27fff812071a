/* The `.env` file: each row a text and what is read from it, as "name=value;" with line breaks as \n. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings/environment.h"

static const struct row {
    const char *rule, *text, *read;
    bool warns, fails;
} rows[] = {
    { "plain", "A=1\nB=two words\n", "A=1;B=two words;" },
    { "no line end at the end", "A=1", "A=1;" },
    { "windows line ends", "A=1\r\nB='x'\r\n", "A=1;B=x;" },
    { "byte order mark", "\xef\xbb\xbf" "A=1\n", "A=1;" },
    { "blanks around", "  A =  1  \n", "A=1;" },
    { "export", "export A=1\nexport\tB=2\n", "A=1;B=2;" },
    { "comment lines", "# A=1\n\n  # B=2\nC=3\n", "C=3;" },
    { "comment after a value", "A=1 # one\nB=1#2\nC='x' # y\n", "A=1;B=1#2;C=x;" },
    { "a hash right after the equals sign belongs to the value", "A=#x\nB= # none\n", "A=#x;B=;" },
    { "empty", "A=\nB=''\nC=\"\"\n", "A=;B=;C=;" },
    { "single quotes are literal", "A='a\\nb \"c\" $X'\n", "A=a\\nb \"c\" $X;" },
    { "escapes in single quotes", "A='it\\'s \\\\'\n", "A=it's \\;" },
    { "double quotes have escapes", "A=\"a\\nb\\t\\\"c\\\"\"\n", "A=a\nb\t\"c\";" },
    { "quoted values span lines", "A='[\n {} ]'\nB=2\n", "A=[\n {} ];B=2;" },
    { "equals signs in the value", "A=k=v,x=y\n", "A=k=v,x=y;" },
    { "no variable is expanded", "A=${HOME}$B\n", "A=${HOME}$B;" },
    { "no equals sign", "A\nB=1\n", "B=1;", .warns = true },
    { "no name", "=1\nB=1\n", "B=1;", .warns = true },
    { "odd name", "A B=1\nC=1\n", "C=1;", .warns = true },
    { "text after the quote", "A='x'y\nB=1\n", "A=x;B=1;", .warns = true },
    { "open quote", "B=1\nA='x\ny", "B=1;", .fails = true },
    { "open quote after a backslash", "A=\"x\\", "", .fails = true },
    { "nothing", "", "" },
};

static void note(void *context, struct str name, char *value)
{
    buf_printf(context, "%.*s=%s;", STR_ARG(name), value);
    free(value);
}

static void dotenv_lines_are_read(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_buf struct buf read = { 0 }, problems = { 0 }, warnings = { 0 };
        /* A copy without a byte to spare, so that the sanitizer sees reads past the end. */
        size_t len = strlen(rows[i].text);
        cleanup_free char *copy = malloc(len + (len == 0));
        memcpy(copy, rows[i].text, len);
        dotenv_parse(str_of(copy, len), note, &read, &problems, &warnings);
        if (!str_equal_text(buf_str(&read), rows[i].read))
            fail_msg("%s: %.*s", rows[i].rule, STR_ARG(buf_str(&read)));
        if ((problems.len > 0) != rows[i].fails || (warnings.len > 0) != rows[i].warns)
            fail_msg("%s: problems '%.*s' warnings '%.*s'", rows[i].rule, STR_ARG(buf_str(&problems)), STR_ARG(buf_str(&warnings)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(dotenv_lines_are_read) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
