/* Checks of request members that answer 422 in the shape of FastAPI: {type, loc, msg, input, ctx?} for each problem, all of a
 * request at once. Pure functions on a list that belongs to one request. */
#ifndef API_VALIDATION_H
#define API_VALIDATION_H

#include <jansson.h>

#include "base/str.h"

/* Where a value stands: "body", "query" or "path", and the member's name (NULL: the whole of it). */
struct location {
    const char *place, *name;
};

/* Adds a problem to the array `problems`. `input` is borrowed (NULL: null); `ctx` is taken over (NULL: none). */
void problem_add(json_t *problems, struct location where, const char *type, const char *msg, const json_t *input, json_t *ctx);
/* The member is not there; `input` is the object that should hold it. */
void problem_add_missing(json_t *problems, struct location where, const json_t *input);

/* The text of `value`, at least one character. NULL, with a problem added, for another type or an empty one. */
const char *check_text(json_t *problems, struct location where, const json_t *value);
/* Read as leniently as in a policy. False, with a problem added, for anything else. */
bool check_bool(json_t *problems, struct location where, const json_t *value, bool *out);
/* A whole number from `least` to `most` in a query's text, read as leniently as in a policy. */
bool check_number(json_t *problems, struct location where, struct str text, int64_t least, int64_t most, int64_t *out);
/* A policy id; adds a problem when it is not one. */
bool check_policy_id(json_t *problems, struct location where, struct str id);

/* A JSON string of any bytes: what is not UTF-8, and NUL, becomes U+FFFD. */
json_t *json_from_bytes(struct str bytes);

#endif
