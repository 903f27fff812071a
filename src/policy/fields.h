/* The fields of a policy and their types (orchestrator.md §3.1). Of use only inside this module. */
#ifndef POLICY_FIELDS_H
#define POLICY_FIELDS_H

#include <jansson.h>

#include "base/error.h"

/* Gives `data` with its known fields in the order of the contract, coerced, nulls dropped, followed by the unknown members as
 * they are. ERR_UNPROCESSABLE when a type is wrong: `*detail` is an array of complaints about all of them. */
int policy_fields_read(const json_t *data, const json_t *location, json_t **normal, json_t **detail, struct error *err)
    MUST_CHECK;

#endif
