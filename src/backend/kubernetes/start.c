/* Starting a terminal: first the Secret and the home's claim, side by side, then the Service and the pod, side by side. Names follow from the key, so that whoever
 * starts the same terminal at the same time, here or in another orchestrator, meets the other's objects and uses them. */
#include "backend/kubernetes/parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "kubernetes/pod.h"

#define POD_DEADLINE_MS 60000           /* for an old pod of the same name to go */
#define WIPE_DEADLINE_MS 120000         /* for a home that is being emptied */
#define WAIT_MS 1000
#define RETRY_MS 50

/* One start on its way. All borrowed but what follows `home`. */
struct attempt {
    struct kubernetes *k;
    const struct terminal_spec *spec;
    const char *name;
    json_t *cleaner;
    struct home home;
    char *guest_key;                    /* that of the Secret */
    struct object_id secret;            /* made by this call; uid NULL: not */
    char *service_uid, *pod_uid;        /* the same */
    bool adopted;
};

static void attempt_clear(struct attempt *attempt)
{
    json_decref(attempt->cleaner);
    home_clear(&attempt->home);
    free(attempt->guest_key);
    object_id_clear(&attempt->secret);
    free(attempt->service_uid);
    free(attempt->pod_uid);
}

/* --- side by side -------------------------------------------------------------------------------------------- */

struct side {
    int (*step)(struct attempt *attempt, struct error *err);
    struct attempt *attempt;
    int result;
    struct error err;
};

static void *run_side(void *argument)
{
    struct side *side = argument;
    side->result = side->step(side->attempt, &side->err);
    return NULL;
}

/* The two steps touch different fields of the attempt. Both have ended when this returns; the first one's failure is told before the other's. */
static int run_both(struct attempt *attempt, int (*here)(struct attempt *, struct error *), int (*there)(struct attempt *, struct error *),
                    struct error *err)
{
    struct side side = { .step = there, .attempt = attempt };
    pthread_t thread = thread_start("kube-start", run_side, &side);
    int result = here(attempt, err);

    pthread_join(thread, NULL);
    if (result == 0 && side.result < 0)
        *err = side.err;
    return result < 0 || side.result < 0 ? -1 : 0;
}

/* --- the pod's body ------------------------------------------------------------------------------------------ */

static json_t *make_body(const struct attempt *attempt, const char *claim, const char *sub_path, const char *guest_key, struct error *err)
{
    struct kubernetes *k = attempt->k;
    struct pod_plan plan = { .name = attempt->name, .namespace = k->namespace, .claim = claim, .sub_path = sub_path, .guest_key = guest_key,
                             .settings = k->settings, .choose_fs_group = !attempt->spec->restricted || !kube_is_openshift(k->client) };

    return pod_body(attempt->spec, &plan, err);
}

/* Tells early what is wrong with the policy, before anything is made. */
static int plan_cleaner(struct attempt *attempt, struct error *err)
{
    cleanup_json json_t *body = make_body(attempt, attempt->name, NULL, attempt->spec->guest_key, err);

    if (!body)
        return -1;
    attempt->cleaner = kube_cleaner_of(body);
    return 0;
}

/* --- a pod is there already ---------------------------------------------------------------------------------- */

static int delete_pod(struct kubernetes *k, const json_t *pod, struct error *err)
{
    struct kube_delete_options options = { .uid = kube_uid(pod), .grace_s = -1 };

    if (kube_delete(k->client, &KUBE_PODS, k->namespace, kube_name(pod), &options, err) == 0)
        return 0;
    return err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
}

/* Whether the guest in it has the key of our Secret. The original's pods do not say; they are older than a Secret that was made just now. */
static bool has_our_key(const struct attempt *attempt, const json_t *pod)
{
    const char *noted = kube_annotation(pod, ANNOTATION_KEY_HASH);
    char hash[13];

    key_hash12(attempt->guest_key, hash);
    return noted ? strcmp(noted, hash) == 0 : !attempt->secret.uid;
}

/* Writes the exact key into a pod of the original, so that it is known from now on. */
static int claim_pod(struct attempt *attempt, const json_t *pod, struct error *err)
{
    cleanup_json json_t *annotations = terminal_annotations(attempt->spec->key);
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:O}}", "metadata", "uid", kube_uid(pod), "annotations", annotations);

    return kube_merge_patch(attempt->k->client, &KUBE_PODS, attempt->k->namespace, kube_name(pod), NULL, patch, NULL, err);
}

static int adopt_pod(struct attempt *attempt, const json_t *pod, enum owner owner, struct error *err)
{
    if (owner == OWNER_FITS && claim_pod(attempt, pod, err) < 0)
        return err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
    log_info("adopted a pod", LOG_STR("terminal", kube_name(pod)));
    attempt->adopted = true;
    return 0;
}

static void wait_for_change(struct kubernetes *k, int64_t ms)
{
    WITH_PICTURE(k);
    picture_wait(k, ms);
}

/* The name is taken: adopts what is there when it is this terminal and may run, clears it away when it is this terminal and has ended. */
static int take_over_pod(struct attempt *attempt, struct error *err)
{
    struct kubernetes *k = attempt->k;
    cleanup_json json_t *pod = NULL;
    struct pod_state state;

    if (kube_get(k->client, &KUBE_PODS, k->namespace, attempt->name, &pod, err) < 0) {
        wait_for_change(k, RETRY_MS);
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    }
    enum owner owner = owner_of_object(pod, attempt->spec->key, false);
    if (owner != OWNER_SAME && owner != OWNER_FITS)
        return refuse_foreign("pod", attempt->name, owner, err);
    pod_state_read(pod, true, &state);
    if (state.phase == OBSERVED_STOPPING) {
        wait_for_change(k, WAIT_MS);
        return 0;
    }
    if (state.phase != OBSERVED_STOPPED && state.phase != OBSERVED_FAILED && has_our_key(attempt, pod))
        return adopt_pod(attempt, pod, owner, err);
    log_info("an old pod of this terminal is replaced", LOG_STR("terminal", attempt->name), LOG_STR("why", state.message[0] ? state.message : "another key"));
    return delete_pod(k, pod, err);
}

static int create_pod(struct attempt *attempt, struct error *err)
{
    struct kubernetes *k = attempt->k;
    cleanup_json json_t *body = make_body(attempt, attempt->home.claim, attempt->home.sub_path, attempt->guest_key, err);
    int64_t deadline = clock_monotonic_ms() + POD_DEADLINE_MS;

    while (body && clock_monotonic_ms() < deadline && !atomic_load(&k->stopping)) {
        cleanup_json json_t *made = NULL;
        if (kube_create(k->client, &KUBE_PODS, k->namespace, body, &made, err) == 0) {
            attempt->pod_uid = xstrdup(kube_uid(made));
            return 0;
        }
        if (err->class != ERR_CONFLICT || take_over_pod(attempt, err) < 0)
            return -1;
        if (attempt->adopted)
            return 0;
    }
    return body ? error_set(err, ERR_UNAVAILABLE, "the old pod %s does not go away", attempt->name) : -1;
}

/* --- the other objects --------------------------------------------------------------------------------------- */

static int make_secret(struct attempt *attempt, struct error *err)
{
    return secret_ensure(attempt->k, attempt->spec->key, attempt->name, attempt->spec->guest_key, &attempt->guest_key, &attempt->secret, err);
}

static int make_home(struct attempt *attempt, struct error *err)
{
    return home_claim_prepare(attempt->k, attempt->spec, attempt->name, attempt->cleaner, &attempt->home, err);
}

static int make_service(struct attempt *attempt, struct error *err)
{
    return service_ensure(attempt->k, attempt->spec->key, attempt->name, &attempt->service_uid, err);
}

/* --- a start ------------------------------------------------------------------------------------------------- */

/* Another orchestrator may be emptying the home. */
static int wait_for_wipe(struct attempt *attempt, struct error *err)
{
    struct kubernetes *k = attempt->k;
    int64_t deadline = clock_monotonic_ms() + WIPE_DEADLINE_MS;
    cleanup_free char *name = xasprintf("%s-wipe", attempt->name);

    WITH_PICTURE(k);
    for (;;) {
        const struct pod_entry *pod = picture_pod(k, name);
        if (!pod || !pod->is_wipe || pod->state.phase == OBSERVED_STOPPED)
            return 0;
        if (clock_monotonic_ms() >= deadline || atomic_load(&k->stopping))
            return error_set(err, ERR_UNAVAILABLE, "the home is still being emptied (pod %s)", name);
        picture_wait(k, WAIT_MS);
    }
}

/* A pod of the original whose exact key its labels do not tell, and which has another name than ours would have. */
static int look_for_original(struct attempt *attempt, struct error *err)
{
    struct kubernetes *k = attempt->k;
    char legacy[TERMINAL_NAME_SIZE];
    bool is_there;

    terminal_legacy_name(attempt->spec->key, NAME_PREFIX, legacy);
    if (strcmp(legacy, attempt->name) == 0)
        return 0;
    pthread_mutex_lock(&k->lock);
    is_there = picture_pod(k, legacy) && !picture_pod(k, legacy)->key;
    pthread_mutex_unlock(&k->lock);
    cleanup_json json_t *pod = NULL;
    if (!is_there || kube_get(k->client, &KUBE_PODS, k->namespace, legacy, &pod, err) < 0)
        return is_there && err->class != ERR_NOT_FOUND ? -1 : 0;
    struct pod_state state;
    pod_state_read(pod, true, &state);
    bool usable = state.phase == OBSERVED_RUNNING || state.phase == OBSERVED_STARTING;
    return usable && owner_of_object(pod, attempt->spec->key, false) == OWNER_FITS ? adopt_pod(attempt, pod, OWNER_FITS, err) : 0;
}

static int run_attempt(struct attempt *attempt, struct error *err)
{
    if (wait_for_wipe(attempt, err) < 0 || look_for_original(attempt, err) < 0)
        return -1;
    if (attempt->adopted)
        return 0;
    if (plan_cleaner(attempt, err) < 0 || run_both(attempt, make_secret, make_home, err) < 0)
        return -1;
    return run_both(attempt, create_pod, make_service, err);
}

/* `version` NULL: whatever became of it. */
static void remove_made(struct attempt *attempt, const struct kube_resource *resource, const char *name, const char *uid, const char *version)
{
    struct kube_delete_options options = { .uid = uid, .resource_version = version, .grace_s = 0 };
    struct error err;

    if (uid && kube_delete(attempt->k->client, resource, attempt->k->namespace, name, &options, &err) < 0 && err.class != ERR_NOT_FOUND &&
        err.class != ERR_CONFLICT)
        log_warning("something of a failed start stays for now", LOG_STR("kind", resource->kind), LOG_STR("name", name), LOG_ERR(&err));
}

/* A pod whose creation was not answered may be there, and needs the rest; the keeper clears up if it is not. */
static void undo(struct attempt *attempt, const struct error *why)
{
    char secret[OBJECT_NAME_SIZE];

    if (why->class == ERR_UNAVAILABLE || why->class == ERR_TIMEOUT || attempt->adopted)
        return;
    secret_name(attempt->name, secret);
    remove_made(attempt, &KUBE_PODS, attempt->name, attempt->pod_uid, NULL);
    remove_made(attempt, &KUBE_SERVICES, attempt->name, attempt->service_uid, NULL);
    remove_made(attempt, &KUBE_SECRETS, secret, attempt->secret.uid, attempt->secret.version);      /* unless another has taken it over */
    home_claim_undo(attempt->k, &attempt->home);
}

/* What a refusal means to whoever wanted the terminal. */
static void translate(const struct kubernetes *k, struct error *err)
{
    char text[sizeof(err->text)];

    memcpy(text, err->text, sizeof(text));
    switch ((int)err->class) {
    case ERR_INVALID:           /* the API server does not take the object */
        err->class = ERR_INVALID_POLICY;
        break;
    case ERR_FORBIDDEN:         /* admission speaks of the pod, authorisation of us */
        err->class = strstr(text, "cannot ") && strstr(text, "in API group") ? ERR_UNAVAILABLE : ERR_INVALID_POLICY;
        if (strstr(text, "being terminated") || strstr(text, "nauthorized"))
            err->class = ERR_UNAVAILABLE;
        break;
    case ERR_NOT_FOUND:
        if (strstr(text, "namespaces \""))
            error_set(err, ERR_UNAVAILABLE, "%s; make it, or name another in TERMINALS_KUBERNETES_NAMESPACE (now '%s')", text, k->namespace);
        else
            err->class = ERR_INVALID_POLICY;
        break;
    case ERR_LIMIT:             /* the API server's, not a quota of ours */
        err->class = ERR_UNAVAILABLE;
        break;
    default:
        break;
    }
}

int kubernetes_start(struct kubernetes *k, const struct terminal_spec *spec, struct error *err)
{
    char name[TERMINAL_NAME_SIZE];
    struct current_start live;
    struct attempt attempt = { .k = k, .spec = spec, .name = name };

    terminal_name(spec->key, NAME_PREFIX, name);
    current_start_begin(k, &live, name);
    int result = run_attempt(&attempt, err);
    if (result < 0)
        undo(&attempt, err);
    current_start_end(k, &live);
    attempt_clear(&attempt);
    if (result == 0)
        return 0;
    translate(k, err);
    return error_wrap(err, "starting '%s'", name);
}
