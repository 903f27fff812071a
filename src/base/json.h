/* What we add to jansson. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

static inline void cleanup_json_pointer(json_t **place) { json_decref(*place); }
#define cleanup_json __attribute__((cleanup(cleanup_json_pointer)))

/* Whoever reads, copies or writes a value does it by recursion, and our threads have small stacks: deeper ones are refused before they are parsed. */
#define JSON_DEPTH_MAX 200
/* Whether brackets outside strings nest deeper than that. For any text; what is no JSON is left to the parser. */
bool json_is_too_deep(struct str text);

/* Strict JSON of any type, no duplicate keys, nothing after it. ERR_INVALID with the place otherwise. The caller owns the reference. */
json_t *json_read(struct str text, struct error *err) MUST_CHECK;
/* The same for what other programs have written: the last of several members of one name counts, strings may hold NUL, and where an integer is
 * too large for us all numbers are reals. */
json_t *json_read_lenient(struct str text, struct error *err) MUST_CHECK;
/* Compact, with keys as inserted and reals as short as they can be; the caller frees. NULL when memory is out or there is no value. */
char *json_write(const json_t *value) MUST_CHECK;
/* The string at `key`, or NULL when it is missing or of another type. Borrowed. */
const char *json_text(const json_t *object, const char *key);
/* RFC 7396 merge patch of `patch` into a copy of `target`; the caller owns the result. */
json_t *json_merge_patch(const json_t *target, const json_t *patch) MUST_CHECK;

#endif
