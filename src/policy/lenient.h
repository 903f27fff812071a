/* Types in JSON bodies as the original's framework reads them: integers and booleans leniently, and complaints of its
 * shape, {"type","loc","msg","input"}. Pure functions, any thread. */
#ifndef POLICY_LENIENT_H
#define POLICY_LENIENT_H

#include <jansson.h>

#include "base/defs.h"

/* Why a value is refused; literals. */
struct complaint {
    const char *type, *message;
};

/* 15, 15.0, "15", " +1_000 ", "15.0", true. False: `complaint` is filled. */
bool lenient_integer(const json_t *value, int64_t *number, struct complaint *complaint);
/* true, 1, 1.0, "yes", "on", "t", … without case. False: `complaint` is filled. */
bool lenient_boolean(const json_t *value, bool *flag, struct complaint *complaint);

/* Adds one complaint to the array `detail`; its `loc` is `location` and, unless NULL, `member`. `input` NULL is null. */
void complaint_append(json_t *detail, const json_t *location, const char *member, const json_t *input,
                      const struct complaint *complaint);

extern const struct complaint complaint_missing, complaint_not_text, complaint_not_object, complaint_not_array,
    complaint_not_body, complaint_extra;

#endif
