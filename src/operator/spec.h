/* Reading a resource's spec, with the defaults of the schema where a value is missing (an API server that did not know a field has
 * not filled it in). Pure. */
#ifndef OPERATOR_SPEC_H
#define OPERATOR_SPEC_H

#include <jansson.h>

#include "operator/record.h"

bool spec_is_persistent(const json_t *spec);
bool spec_is_shared(const json_t *spec);
const char *spec_access_mode(const json_t *spec);
const char *spec_storage_size(const json_t *spec);
/* NULL: the cluster's default. */
const char *spec_storage_class(const json_t *spec);
bool spec_is_restricted(const json_t *spec);
json_int_t spec_idle_minutes(const json_t *spec);
/* "cpu" or "memory" of "requests" or "limits", as text; the caller frees. */
char *spec_quantity(const json_t *spec, const char *list, const char *name) MUST_CHECK;

/* Hash of all that a pod is made of, with a missing value equal to its default: only a real change changes it. Begins with the number of
 * the rules that it was made by: pods of other rules are left alone. */
void spec_hash(const json_t *spec, char out[static HASH_SIZE]);
bool spec_hash_differs(const char *of_pod, const char *wanted);

#endif
