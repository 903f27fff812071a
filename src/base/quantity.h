/* Sizes and CPU amounts as Kubernetes and Docker write them (orchestrator.md §3.3). Pure functions. */
#ifndef BASE_QUANTITY_H
#define BASE_QUANTITY_H

#include "base/str.h"

/* Bytes, rounded up to a whole byte. False: does not parse, is negative, or overflows. */
bool quantity_parse_size(struct str text, uint64_t *bytes);
/* Billionths of a core (Docker's NanoCpus), rounded up. */
bool quantity_parse_cpu(struct str text, uint64_t *nano_cpus);
/* Cores with at most 3 decimals and no trailing zeros, such as "1.5"; `out` has 32 bytes. */
void quantity_format_cpu(uint64_t nano_cpus, char out[static 32]);

#endif
