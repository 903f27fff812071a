/* A scanner that only looks for the first mistake. jansson decides what is JSON that does not nest too deep; this runs on the rest, because the
 * message and the position in `ctx` and `loc` are part of the contract and jansson's are others.
 *
 * It steps over values with a stack of its own instead of recursion: the text comes from outside and may nest as deep as it
 * likes. The words are those of Python's decoder; three of its liberties (NaN and Infinity, a NUL, a lone surrogate) and
 * numbers without bounds are mistakes here, since no answer could carry them. */
#include "api/json_scan.h"

#include <errno.h>
#include <limits.h>

#include "base/json.h"

#define MAX_DEPTH JSON_DEPTH_MAX

struct scanner {
    const char *at, *start, *end;
    struct json_fault *fault;
    unsigned depth;
    char open[MAX_DEPTH];   /* '{' or '[' */
};

/* Always false, so that `return fail(…)` ends a step. */
static bool fail(struct scanner *scanner, const char *at, const char *message)
{
    size_t position = 0;
    for (const char *byte = scanner->start; byte < at; byte++)
        position += ((unsigned char)*byte & 0xc0) != 0x80;
    *scanner->fault = (struct json_fault){ message, position, false };
    return false;
}

static char peek(const struct scanner *scanner)
{
    return scanner->at < scanner->end ? *scanner->at : '\0';
}

static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end && strchr(" \t\r\n", *scanner->at) && *scanner->at)
        scanner->at++;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Reads the four digits after the 'u' that `at` is on. A text that ends right after them is no better than one that ends before. */
static bool read_unicode(struct scanner *scanner, const char *u, unsigned *code)
{
    *code = 0;
    if (scanner->end - u <= 5)
        return fail(scanner, u, "Invalid \\uXXXX escape");
    for (int i = 1; i <= 4; i++) {
        int digit = hex_value(u[i]);
        if (digit < 0)
            return fail(scanner, u, "Invalid \\uXXXX escape");
        *code = *code * 16 + (unsigned)digit;
    }
    return true;
}

/* `at` is on the 'u'; a surrogate must be followed by its other half. */
static bool step_unicode(struct scanner *scanner)
{
    const char *u = scanner->at;
    unsigned code, low;

    if (!read_unicode(scanner, u, &code))
        return false;
    scanner->at += 5;
    if (code == 0 || (code >= 0xdc00 && code <= 0xdfff))
        return fail(scanner, u, "Invalid \\uXXXX escape");
    if (code < 0xd800 || code > 0xdbff)
        return true;
    if (scanner->end - scanner->at < 2 || scanner->at[0] != '\\' || scanner->at[1] != 'u')
        return fail(scanner, u, "Invalid \\uXXXX escape");
    if (!read_unicode(scanner, scanner->at + 1, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(scanner, u, "Invalid \\uXXXX escape");
    scanner->at += 6;
    return true;
}

/* `at` is on the opening quote. */
static bool step_string(struct scanner *scanner)
{
    const char *begin = scanner->at++;

    while (scanner->at < scanner->end && *scanner->at != '"') {
        if ((unsigned char)*scanner->at < 0x20)
            return fail(scanner, scanner->at, "Invalid control character at");
        if (*scanner->at++ != '\\')
            continue;
        if (scanner->at == scanner->end)
            break;
        if (*scanner->at == 'u') {
            if (!step_unicode(scanner))
                return false;
        } else if (*scanner->at && strchr("\"\\/bfnrt", *scanner->at)) {
            scanner->at++;
        } else {
            return fail(scanner, scanner->at - 1, "Invalid \\escape");
        }
    }
    if (scanner->at == scanner->end)
        return fail(scanner, begin, "Unterminated string starting at");
    scanner->at++;
    return true;
}

static bool is_digit(const struct scanner *scanner, size_t ahead)
{
    return (size_t)(scanner->end - scanner->at) > ahead && scanner->at[ahead] >= '0' && scanner->at[ahead] <= '9';
}

static void skip_digits(struct scanner *scanner)
{
    while (is_digit(scanner, 0))
        scanner->at++;
}

/* Whether jansson can hold the number. */
static bool number_fits(const char *begin, const char *end, bool real)
{
    cleanup_free char *text = str_dup(str_of(begin, (size_t)(end - begin)));
    errno = 0;
    if (real) {
        double value = strtod(text, NULL);
        return !(errno == ERANGE && (value > 1 || value < -1));
    }
    (void)strtoll(text, NULL, 10);
    return errno != ERANGE;
}

/* Takes as much as is a number and leaves the rest, "1." or "01", to whoever expects a comma or the end. */
static bool step_number(struct scanner *scanner)
{
    const char *begin = scanner->at;
    bool real = false;

    if (peek(scanner) == '-')
        scanner->at++;
    if (!is_digit(scanner, 0))
        return fail(scanner, begin, "Expecting value");
    if (peek(scanner) == '0')
        scanner->at++;
    else
        skip_digits(scanner);
    if (peek(scanner) == '.' && is_digit(scanner, 1)) {
        real = true;
        scanner->at++;
        skip_digits(scanner);
    }
    if ((peek(scanner) | 0x20) == 'e') {
        size_t sign = (size_t)(scanner->end - scanner->at) > 1 && strchr("+-", scanner->at[1]) && scanner->at[1];
        if (is_digit(scanner, 1 + sign)) {
            real = true;
            scanner->at += 1 + sign;
            skip_digits(scanner);
        }
    }
    return number_fits(begin, scanner->at, real) || fail(scanner, begin, "Number out of range");
}

static bool step_word(struct scanner *scanner)
{
    static const char *const words[] = { "null", "true", "false" };
    struct str rest = str_of(scanner->at, (size_t)(scanner->end - scanner->at));

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_starts_with(rest, str_from(words[i]))) {
            scanner->at += strlen(words[i]);
            return true;
        }
    return fail(scanner, scanner->at, "Expecting value");
}

/* A member's name and colon. */
static bool step_name(struct scanner *scanner)
{
    if (peek(scanner) != '"')
        return fail(scanner, scanner->at, "Expecting property name enclosed in double quotes");
    if (!step_string(scanner))
        return false;
    skip_blanks(scanner);
    if (peek(scanner) != ':')
        return fail(scanner, scanner->at, "Expecting ':' delimiter");
    scanner->at++;
    skip_blanks(scanner);
    return true;
}

/* `at` is on '{' or '['. `*inside`: a value comes next; else it was empty and is closed again. */
static bool open_container(struct scanner *scanner, bool *inside)
{
    char bracket = *scanner->at++;

    if (scanner->depth == MAX_DEPTH) {
        scanner->fault->too_deep = true;
        return false;
    }
    skip_blanks(scanner);
    *inside = peek(scanner) != (bracket == '{' ? '}' : ']');
    if (!*inside) {
        scanner->at++;
        return true;
    }
    scanner->open[scanner->depth++] = bracket;
    return bracket == '[' || step_name(scanner);
}

/* After a value: closes what ends here, and stops before the next value or at the end of the outermost one. */
static bool step_after_value(struct scanner *scanner)
{
    while (scanner->depth > 0) {
        char bracket = scanner->open[scanner->depth - 1];
        skip_blanks(scanner);
        if (peek(scanner) == (bracket == '{' ? '}' : ']')) {
            scanner->at++;
            scanner->depth--;
            continue;
        }
        if (peek(scanner) != ',')
            return fail(scanner, scanner->at, "Expecting ',' delimiter");
        scanner->at++;
        skip_blanks(scanner);
        return bracket == '[' || step_name(scanner);
    }
    return true;
}

static bool step_value(struct scanner *scanner, bool *inside)
{
    *inside = false;
    switch (peek(scanner)) {
    case '{':
    case '[':
        return open_container(scanner, inside);
    case '"':
        return step_string(scanner);
    case '-':
    case '0' ... '9':
        return step_number(scanner);
    default:
        return step_word(scanner);
    }
}

bool json_scan(struct str text, struct json_fault *fault)
{
    struct scanner scanner = { .at = text.data, .start = text.data, .end = text.data + text.len, .fault = fault };
    bool inside;

    *fault = (struct json_fault){ NULL, 0, false };
    skip_blanks(&scanner);
    do {
        if (!step_value(&scanner, &inside) || (!inside && !step_after_value(&scanner)))
            return true;
    } while (inside || scanner.depth > 0);
    skip_blanks(&scanner);
    return scanner.at < scanner.end && !fail(&scanner, scanner.at, "Extra data");
}
