/* Sizes and CPU amounts: whatever is taken comes again, and ordering by digits holds. */
#include "base/quantity.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of((const char *)data, size);
    uint64_t value, again;
    char cores[32];

    if (quantity_parse_size(text, &value)) {
        cleanup_free char *plain = xasprintf("%llu", (unsigned long long)value);

        ASSERT(quantity_parse_size(str_from(plain), &again) && again == value);
        ASSERT(size > 0 && data[0] != '-' && data[0] != '+');
    }
    if (quantity_parse_cpu(text, &value)) {
        quantity_format_cpu(value, cores);
        ASSERT(quantity_parse_cpu(str_from(cores), &again) || value > UINT64_MAX - 1000000);
        ASSERT((value == 0) == (strcmp(cores, "0") == 0));
    }
    return 0;
}
