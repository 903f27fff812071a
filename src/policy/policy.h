/* Policies: what an administrator allows a terminal to be (orchestrator.md §3).
 *
 * policy_check() judges what is written through the API. A snapshot holds all stored policies, parsed, together with the
 * limits of the service; it is immutable and counted, replaced whole on any change (policies.h), and everyone works on the
 * one that he took. policy_resolve() makes of a policy what a terminal is started with; caps and the image list apply
 * there again. Pure functions, any thread. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <jansson.h>

#include "base/error.h"
#include "base/map.h"
#include "settings/settings.h"

/* What the service imposes on every policy; made from the settings, immutable. */
struct policy_limits {
    char *image;                        /* the default */
    bool has_max_cpu, has_max_memory, has_max_storage;
    uint64_t max_nano_cpus, max_memory_bytes, max_storage_bytes;
    char *max_cpu, *max_memory, *max_storage;           /* as written in the settings */
    char **allowed_images;              /* globs */
    size_t allowed_image_count;
    int64_t idle_timeout_minutes;       /* ≤ 0: never */
    bool restricted;
    char *system_prompt;                /* may be NULL */
};

/* One stored policy, or the built-in `default`. Immutable; lives as long as its snapshot. */
struct policy {
    char *id;
    json_t *data;                       /* as stored; null when that cannot be read */
    char *created_at, *updated_at;      /* NULL for the built-in one */
    int64_t idle_timeout_minutes;       /* effective: ≤ 0 never */
    const char *image;                  /* effective, before the image list is applied */
    json_t *access;                     /* {"users":[…],"roles":[…]} or NULL: everyone */
    json_t *lifecycle;                  /* {} when none is stored */
};

/* What a terminal of a policy is made of. Owned by its holder; free with terminal_template_free(). */
struct terminal_template {
    char *image;
    json_t *env;                        /* object of strings: policy env and limits, without the guest's key */
    uint64_t nano_cpus;                 /* 0: no limit */
    uint64_t memory_bytes;              /* 0: no limit */
    uint64_t storage_bytes;             /* 0: none asked for */
    char *storage_mode;                 /* NULL: the backend's default */
    int64_t pids_limit;                 /* 0: the backend's default */
    char *runtime, *gpus, *network;     /* NULL: not named */
    bool restricted;
    bool allow_sudo;
    bool net_admin;                     /* OPEN_TERMINAL_ALLOWED_DOMAINS is set: the image's own filter needs NET_ADMIN */
    json_t *policy;                     /* the data with its types put right, for what only one backend understands (podTemplate) */
};
void terminal_template_free(struct terminal_template *template);

/* --- writing ------------------------------------------------------------------------------------------------- */

/* Judges the `data` of a policy about to be stored and gives what is to be stored: nulls dropped, integers and booleans
 * normalised, caps applied, unknown members kept. Wrong types: ERR_UNPROCESSABLE and `*detail` (owned by the caller) is the
 * FastAPI-shaped array; broken rules: ERR_INVALID with the text of §3.2. `body_location` is prefixed to each `loc`, such as
 * ["body"] or ["body","data"]. */
int policy_check(const struct policy_limits *limits, const json_t *data, const json_t *body_location, json_t **normal,
                 json_t **detail, struct error *err) MUST_CHECK;
/* Whether the policy's env puts guests into multi-user mode, in which they answer 400 to everything that comes from us. */
bool policy_is_multi_user(const json_t *data);
/* 1–128 characters, UTF-8, no control characters, no '/'. */
bool policy_id_is_valid(struct str id);

/* --- the snapshot -------------------------------------------------------------------------------------------- */

struct policy_snapshot;

struct policy_limits *policy_limits_new(const struct settings *settings) MUST_CHECK;
void policy_limits_free(struct policy_limits *limits);

/* Takes the limits over. `rows`: array of {id, data, created_at, updated_at, lifecycle?} objects; a row for `default` without
 * `data` brings only a lifecycle for the built-in policy. A stored policy that does not parse, or whose data is null because it
 * could not be read, stays in the snapshot; resolving it fails with ERR_INVALID_POLICY. */
struct policy_snapshot *policy_snapshot_new(struct policy_limits *limits, const json_t *rows) MUST_CHECK;
struct policy_snapshot *policy_snapshot_ref(struct policy_snapshot *snapshot);
void policy_snapshot_unref(struct policy_snapshot *snapshot);
const struct policy_limits *policy_snapshot_limits(const struct policy_snapshot *snapshot);
/* NULL: no such policy. `default` is always there. The result lives as long as the snapshot. */
const struct policy *policy_snapshot_find(const struct policy_snapshot *snapshot, struct str policy_id);
/* How many are stored; the built-in one does not count. */
size_t policy_snapshot_count(const struct policy_snapshot *snapshot);

/* What a terminal of this policy is started with. ERR_IMAGE_NOT_ALLOWED, ERR_INVALID_POLICY. */
struct terminal_template *policy_resolve(const struct policy_snapshot *snapshot, const struct policy *policy,
                                         struct error *err) MUST_CHECK;
/* Whether a caller with this identity may use the policy (§2.2, `access`): his id or e-mail is among the users, or his role among
 * the roles. `email` and `role` may be NULL. */
bool policy_allows(const struct policy *policy, const char *user_id, const char *email, const char *role);

/* --- the current snapshot ------------------------------------------------------------------------------------ */

/* Holds the snapshot that is in force. Any thread; taking it is a short lock. */
struct policies;
struct policies *policies_new(struct policy_snapshot *first) MUST_CHECK;
void policies_free(struct policies *policies);
/* A reference to the snapshot in force; unref it. */
struct policy_snapshot *policies_current(struct policies *policies) MUST_CHECK;
/* Counts up with each publication, so that a worker sees with one atomic load whether its own reference is stale. */
uint64_t policies_generation(const struct policies *policies);
/* Puts `snapshot` in force and takes the reference over. */
void policies_publish(struct policies *policies, struct policy_snapshot *snapshot);

#endif
