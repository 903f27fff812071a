/* What every fuzz target gives: one run over `size` bytes of input. A finding is an abort, by a sanitizer or by ASSERT: targets check what must
 * hold, not only that nothing crashes. */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/defs.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Splits the input: the first byte chooses, the rest is the message. */
static inline uint8_t fuzz_choice(const uint8_t *data, size_t size, struct str *message)
{
    *message = str_of((const char *)data + (size > 0), size > 0 ? size - 1 : 0);
    return size > 0 ? data[0] : 0;
}

/* Whether `part` lies in `whole`, or is empty. */
static inline bool fuzz_is_inside(struct str part, struct str whole)
{
    return part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

#endif
