/* Quantities: exact decimal arithmetic, never floating point.
 *
 * A text is a decimal number and a unit: a decimal exponent, a power of 1000, a power of 1024, or for CPUs `m`. The number is
 * kept as up to 20 significant digits and a power of ten; digits that are beyond them only matter for rounding up. */
#include "base/quantity.h"

#include <inttypes.h>
#include <limits.h>

#define SIGNIFICANT_DIGITS 20          /* as many as UINT64_MAX has; times 2^60 they fit 128 bits */
#define NANO 1000000000ULL

__extension__ typedef unsigned __int128 wide;

struct decimal {
    wide digits;            /* below 10^20 */
    int exponent;           /* value = digits × 10^exponent, and a bit more when `inexact` */
    bool inexact;
    unsigned kept;          /* significant digits in `digits` */
};

static void decimal_add_digit(struct decimal *number, unsigned digit, bool is_fraction)
{
    if (number->kept < SIGNIFICANT_DIGITS) {
        number->digits = number->digits * 10 + digit;
        number->kept += number->digits > 0;
        number->exponent -= is_fraction;
        return;
    }
    number->inexact |= digit != 0;
    number->exponent += !is_fraction;
}

static bool is_digit(struct str text, size_t at)
{
    return at < text.len && text.data[at] >= '0' && text.data[at] <= '9';
}

/* Digits with at most one point and at least one digit, from the front of `*text`. */
static bool take_decimal(struct str *text, struct decimal *number)
{
    size_t at = 0, digits = 0;
    bool fraction = false;

    /* Longer texts say nothing that anybody means, and bound the exponent. */
    if (text->len > 256)
        return false;
    for (;; at++) {
        if (is_digit(*text, at)) {
            decimal_add_digit(number, (unsigned)(text->data[at] - '0'), fraction);
            digits++;
        } else if (at < text->len && text->data[at] == '.' && !fraction) {
            fraction = true;
        } else {
            break;
        }
    }
    *text = str_skip(*text, at);
    return digits > 0;
}

/* "e3", "E-3" and nothing after it. */
static bool take_exponent(struct str text, int *exponent)
{
    size_t at = 1;
    bool negative = false;
    int value = 0;

    if (text.len < 2 || (text.data[0] != 'e' && text.data[0] != 'E'))
        return false;
    if (text.data[at] == '-' || text.data[at] == '+')
        negative = text.data[at++] == '-';
    if (!is_digit(text, at))
        return false;
    for (; is_digit(text, at); at++)
        value = value < 10000 ? value * 10 + (text.data[at] - '0') : value;
    *exponent = negative ? -value : value;
    return at == text.len;
}

/* number × unit, rounded up; false on overflow. */
static bool decimal_scale(const struct decimal *number, uint64_t unit, uint64_t *result)
{
    wide value = number->digits * unit;
    bool inexact = number->inexact;

    if (number->digits == 0) {
        *result = 0;
        return true;
    }
    for (int i = number->exponent; i < 0 && (value > 0 || !inexact); i++) {
        inexact |= value % 10 != 0;
        value /= 10;
    }
    for (int i = number->exponent; i > 0; i--) {
        if (value > UINT64_MAX)
            return false;
        value *= 10;
    }
    value += inexact;
    if (value > UINT64_MAX)
        return false;
    *result = (uint64_t)value;
    return true;
}

static bool size_unit(struct str suffix, uint64_t *unit)
{
    static const char letters[] = "KMGTPE";
    bool binary = suffix.len == 2 && suffix.data[1] == 'i';
    const char *found;

    if (suffix.len == 1 && suffix.data[0] == 'k') {
        *unit = 1000;
        return true;
    }
    if (suffix.len == 0 || (suffix.len > 1 && !binary) || suffix.data[0] == '\0')
        return false;
    found = strchr(letters, suffix.data[0]);
    if (!found)
        return false;
    *unit = 1;
    for (long i = 0; i <= found - letters; i++)
        *unit *= binary ? 1024 : 1000;
    return true;
}

bool quantity_parse_size(struct str text, uint64_t *bytes)
{
    struct decimal number = { 0 };
    uint64_t unit = 1;
    int exponent = 0;

    if (!take_decimal(&text, &number))
        return false;
    if (take_exponent(text, &exponent)) {
        number.exponent += exponent;
        return decimal_scale(&number, unit, bytes);
    }
    if (text.len > 0 && text.data[0] == ' ')
        text = str_skip(text, 1);
    if (text.len > 0 && !size_unit(text, &unit))
        return false;
    return decimal_scale(&number, unit, bytes);
}

bool quantity_parse_cpu(struct str text, uint64_t *nano_cpus)
{
    struct decimal number = { 0 };
    uint64_t unit = NANO;
    int exponent = 0;

    if (!take_decimal(&text, &number))
        return false;
    if (str_equal_text(text, "m"))
        unit = NANO / 1000;
    else if (take_exponent(text, &exponent))
        number.exponent += exponent;
    else if (text.len > 0)
        return false;
    return decimal_scale(&number, unit, nano_cpus);
}

void quantity_format_cpu(uint64_t nano_cpus, char out[static 32])
{
    const uint64_t nano_per_milli = NANO / 1000;
    uint64_t milli = nano_cpus / nano_per_milli + (nano_cpus % nano_per_milli >= nano_per_milli / 2);
    size_t len;

    /* A limit that is too small to show must not read as none. */
    if (milli == 0 && nano_cpus > 0)
        milli = 1;
    len = (size_t)snprintf(out, 32, "%" PRIu64 ".%03u", milli / 1000, (unsigned)(milli % 1000));
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.')
        len--;
    out[len] = '\0';
}
