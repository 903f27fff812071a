/* The making of a terminal: the policy in force now becomes what the engine is asked for. */
#include "fleet/internal.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"

static void template_free_pointer(struct terminal_template **place)
{
    if (*place)
        terminal_template_free(*place);
}
#define cleanup_template __attribute__((cleanup(template_free_pointer)))

static void snapshot_unref_pointer(struct policy_snapshot **place) { policy_snapshot_unref(*place); }
#define cleanup_snapshot __attribute__((cleanup(snapshot_unref_pointer)))

static struct terminal_template *resolve(struct fleet *fleet, const struct terminal_key *key, struct error *err)
{
    cleanup_snapshot struct policy_snapshot *snapshot = policies_current(fleet->options.policies);
    const struct policy *policy = policy_snapshot_find(snapshot, str_from(key->policy_id));
    if (!policy) {
        error_set(err, ERR_NOT_FOUND, "Policy '%s' not found", key->policy_id);
        return NULL;
    }
    return policy_resolve(snapshot, policy, err);
}

int start_check(struct fleet *fleet, const struct terminal_key *key, struct error *err)
{
    cleanup_template struct terminal_template *template = resolve(fleet, key, err);
    return template ? 0 : -1;
}

/* SHA-256 of all that the guest is made of, as JSON with sorted keys. */
static void hash_template(const struct terminal_template *template, char out[static 65])
{
    cleanup_json json_t *all = json_pack("{s:s, s:O?, s:I, s:I, s:I, s:s?, s:I, s:s?, s:s?, s:s?, s:b, s:b, s:b, s:O?}",
        "image", template->image, "env", template->env, "nano_cpus", (json_int_t)template->nano_cpus,
        "memory_bytes", (json_int_t)template->memory_bytes, "storage_bytes", (json_int_t)template->storage_bytes,
        "storage_mode", template->storage_mode, "pids_limit", (json_int_t)template->pids_limit,
        "runtime", template->runtime, "gpus", template->gpus, "network", template->network,
        "restricted", template->restricted, "allow_sudo", template->allow_sudo, "net_admin", template->net_admin,
        "policy", template->policy);
    ASSERT(all);
    cleanup_free char *text = json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT);
    ASSERT(text);
    sha256_hex(str_from(text), out);
}

static int call_backend(struct fleet *fleet, const struct terminal *terminal, const char *guest_key, struct error *err)
{
    cleanup_template struct terminal_template *template = resolve(fleet, terminal->key, err);
    if (!template)
        return -1;
    char spec_hash[65];
    hash_template(template, spec_hash);
    struct backend *backend = fleet->options.backend;
    return backend->ops->start(backend, &(struct terminal_spec){
        .key = terminal->key,
        .guest_key = guest_key,
        .image = template->image,
        .env = template->env,
        .nano_cpus = template->nano_cpus,
        .memory_bytes = template->memory_bytes,
        .storage_bytes = template->storage_bytes,
        .storage_mode = template->storage_mode,
        .runtime = template->runtime,
        .gpus = template->gpus,
        .network = template->network,
        .pids_limit = template->pids_limit,
        .restricted = template->restricted,
        .allow_sudo = template->allow_sudo,
        .net_admin = template->net_admin,
        .spec_hash = spec_hash,
        .policy = template->policy,
        .pull_deadline_ms = clock_monotonic_ms() + PULL_TIMEOUT_MS,
    }, err);
}

/* Whether the guest may be there although the start failed; if so, what is observed decides. */
static bool outcome_is_open(enum error_class class)
{
    return class == ERR_UNAVAILABLE || class == ERR_TIMEOUT;
}

void start_fail(struct fleet *fleet, struct terminal *terminal, const struct error *why)
{
    bool leave = terminal->observed.phase == OBSERVED_ABSENT || outcome_is_open(why->class);
    terminal->wanted = leave ? WANTED_AS_OBSERVED : WANTED_GONE;
    terminal->stop_reason = STOP_FAILED_START;
    terminal->stop_sent = false;
    terminal->deadline_ms = 0;
    terminal_change_phase(fleet, terminal, TERMINAL_FAILED, why);
    reconcile_soon(fleet, terminal);
}

/* The start call has returned; meanwhile somebody may have wanted the terminal gone. */
static void conclude(struct fleet *fleet, struct terminal *terminal, int result, const struct error *why)
{
    terminal->seen = fleet->listing;
    if (result == 0 && terminal->observed.phase == OBSERVED_ABSENT) {
        terminal->observed.phase = OBSERVED_STARTING;
        terminal->observed.since_ms = clock_monotonic_ms();
    }
    if (terminal->wanted != WANTED_RUNNING) {
        reconcile_soon(fleet, terminal);
        return;
    }
    if (result < 0)
        return start_fail(fleet, terminal, why);
    terminal->wanted = WANTED_AS_OBSERVED;
    terminal->activity_known = true;
    reconcile_restart_clock(fleet, terminal);
    reconcile_soon(fleet, terminal);
}

static void make(struct fleet *fleet, struct terminal *terminal)
{
    cleanup_secret char *guest_key = random_token(32);
    cleanup_free char *name = xstrdup(terminal->name);
    secret_free(terminal->guest_key);
    terminal->guest_key = xstrdup(guest_key);
    terminal->seen = fleet->listing;
    bool requested = terminal->reset_requested, emptied = false;
    struct error err;

    call_begin(fleet, terminal, CALL_START, PULL_TIMEOUT_MS + SLOT_HOLD_MS);
    int reset = reset_apply(fleet, &(struct terminal_ref){ .key = terminal->key, .name = name }, requested, &emptied, &err);
    int result = reset < 0 ? -1 : call_backend(fleet, terminal, guest_key, &err);
    call_end(fleet, terminal);

    reset_conclude(terminal, emptied, reset < 0 ? &err : NULL);
    conclude(fleet, terminal, result, &err);
}

void start_step(struct fleet *fleet, struct terminal *terminal)
{
    switch (terminal->observed.phase) {
    case OBSERVED_STARTING:
    case OBSERVED_RUNNING:          /* somebody else was quicker */
        terminal->wanted = WANTED_AS_OBSERVED;
        terminal->own_start = false;
        reconcile_restart_clock(fleet, terminal);
        admission_leave(fleet, terminal);
        reconcile_soon(fleet, terminal);
        return;
    case OBSERVED_STOPPED:
    case OBSERVED_STOPPING:
    case OBSERVED_FAILED:           /* the remains go first; the waiters stay, so that a start follows */
        reconcile_begin_stop(fleet, terminal, STOP_ENDED, false);
        return;
    case OBSERVED_ABSENT:
        if (admission_enter(fleet, terminal))
            make(fleet, terminal);
        return;
    }
}
