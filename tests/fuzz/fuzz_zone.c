/* Compiled zone files from anywhere: the input is a whole file. */
#include "fuzz.h"
#include "policy/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t moments[] = { -4000000000, -1, 0, 1, 1774656000, 2000000000, 4000000000, 250000000000 };
    struct zone *zone = zone_parse(str_of((const char *)data, size));

    for (size_t i = 0; zone && i < COUNT_OF(moments); i++) {
        int64_t offset = zone_offset_at(zone, moments[i]);
        int64_t utc = zone_local_to_utc(zone, moments[i]);

        ASSERT(offset > -86400 && offset < 86400);
        ASSERT(utc > moments[i] - 3 * 86400 && utc < moments[i] + 3 * 86400);
    }
    zone_free(zone);
    return 0;
}
