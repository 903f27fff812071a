/* Sizes and CPU amounts (orchestrator.md §3.3). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/quantity.h"

#define REFUSED UINT64_MAX

struct row {
    const char *text;
    uint64_t value;
};

static void check_rows(const struct row *rows, size_t count, bool (*parse)(struct str, uint64_t *))
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 0;
        bool parsed = parse(str_from(rows[i].text), &value);

        if (parsed != (rows[i].value != REFUSED) || (parsed && value != rows[i].value))
            fail_msg("'%s': %d %" PRIu64, rows[i].text, parsed, value);
    }
}

static void sizes_are_bytes_rounded_up(void **state)
{
    static const struct row rows[] = {
        { "0", 0 }, { "1", 1 }, { "99999999999", 99999999999 }, { "1k", 1000 }, { "1K", 1000 }, { "1Ki", 1024 },
        { "4Gi", 4ULL << 30 }, { "4G", 4000000000 }, { "4 Gi", 4ULL << 30 }, { "4 ", 4 }, { "1.5Gi", 3ULL << 29 },
        { "0.5", 1 }, { "0.1Ki", 103 }, { ".5Ki", 512 }, { "2.", 2 }, { "1e3", 1000 }, { "1E3", 1000 }, { "1e+3", 1000 },
        { "1.5e1", 15 }, { "1e-3", 1 }, { "0e9999", 0 }, { "1E", 1000000000000000000 }, { "15Ei", 15ULL << 60 },
        { "007", 7 }, { "10000000000000000000e-10", 1000000000 }, { "0.00000000000000000000000001", 1 },
        { "1.00000000000000000000000001", 2 }, { "18446744073709551614", UINT64_MAX - 1 },
    };

    check_rows(rows, COUNT_OF(rows), quantity_parse_size);
}

static void sizes_that_do_not_parse_are_refused(void **state)
{
    static const char *const texts[] = {
        "", " ", ".", "-1", "+1", " 1", "1  Gi", "1GiB", "1gi", "1GB", "1g", "1m", "1ki", "Gi", "1.2.3", "1e", "1e+", "1e3Ki",
        "1e1.5", "0x10", "1_000", "1,5", "inf", "nan", "16Ei", "18446744073709551616", "1e20", "1e99999999999",
        "99999999999999999999999999999999999", "1i", "4Gi ", "4\tGi",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint64_t bytes;

        if (quantity_parse_size(str_from(texts[i]), &bytes))
            fail_msg("'%s' was read as %" PRIu64, texts[i], bytes);
    }
    uint64_t bytes;
    assert_false(quantity_parse_size(str_of("1\0", 2), &bytes));
}

static void cpus_are_billionths_of_a_core(void **state)
{
    static const struct row rows[] = {
        { "2", 2000000000 }, { "4000m", 4000000000 }, { "1e1", 10000000000 }, { "0.5", 500000000 }, { "1m", 1000000 },
        { "0.5m", 500000 }, { "0.0000000001", 1 }, { "0", 0 }, { "1.5", 1500000000 }, { "1 m", REFUSED }, { "2 ", REFUSED },
        { "-1", REFUSED }, { "1M", REFUSED }, { "1k", REFUSED }, { "two", REFUSED }, { "", REFUSED }, { "m", REFUSED },
        { "18446744073", 18446744073000000000ULL }, { "18446744074", REFUSED }, { "1mm", REFUSED }, { "1e1m", REFUSED },
    };

    check_rows(rows, COUNT_OF(rows), quantity_parse_cpu);
}

static void cpu_count_has_at_most_three_decimals_and_no_trailing_zeros(void **state)
{
    static const struct { uint64_t nano_cpus; const char *text; } rows[] = {
        { 2000000000, "2" }, { 1500000000, "1.5" }, { 250000000, "0.25" }, { 333333333, "0.333" }, { 1, "0.001" },
        { 10000000000, "10" }, { 0, "0" }, { 999999999, "1" }, { UINT64_MAX, "18446744073.71" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[32];

        quantity_format_cpu(rows[i].nano_cpus, text);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_bytes_rounded_up),
        cmocka_unit_test(sizes_that_do_not_parse_are_refused),
        cmocka_unit_test(cpus_are_billionths_of_a_core),
        cmocka_unit_test(cpu_count_has_at_most_three_decimals_and_no_trailing_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
