/* Rules that hold both when a policy is written and when a terminal is made of it. Of use only inside this module. */
#ifndef POLICY_RULES_H
#define POLICY_RULES_H

#include "policy/policy.h"

/* cpu_limit, memory_limit and storage, with their caps. */
enum amount { AMOUNT_CPU, AMOUNT_MEMORY, AMOUNT_STORAGE, AMOUNT_COUNT };

/* The text and the value that hold for `text` (NULL or "": not given) under the cap. 0 means no limit, in `text` too, so under a
 * cap it becomes the cap, as does an absent text. False: `text` does not parse. `*effective` is borrowed from
 * `text` or `limits`, NULL where no limit holds. */
bool amount_limit(const struct policy_limits *limits, enum amount amount, const char *text, uint64_t *value,
                  const char **effective);
/* "cpu_limit", … */
const char *amount_field(enum amount amount);

/* Whether the list of allowed images is empty or has a glob that matches. */
bool image_is_allowed(const struct policy_limits *limits, const char *image);
/* The first image of a container in the policy's pod template that is not allowed, or NULL. Borrowed from `data`. */
const char *pod_template_forbidden_image(const struct policy_limits *limits, const json_t *data);

/* What the value of an environment variable is as text; NULL for null (which leaves the variable out). The caller frees. */
char *environment_text(const json_t *value) MUST_CHECK;
/* Not empty, without '='. */
bool environment_name_is_valid(const char *name);
/* Variables that only the service sets. */
bool environment_name_is_reserved(const char *name);

/* The rules of values that policy_fields_read() cannot know: quantities, storage_mode, ranges, names. ERR_INVALID. */
int policy_values_check(const struct policy_limits *limits, const json_t *data, struct error *err) MUST_CHECK;

#endif
