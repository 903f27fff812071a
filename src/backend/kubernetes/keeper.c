/* The thread that puts right what no event does. It compares the picture with what should be, at once after something odd was seen and else once a minute:
 * time limits of pods that do not come up, a Secret or Service that somebody deleted under a living pod, and what was left by pods that were deleted by hand and by
 * orchestrators that died half-way. What it removes has been left for two minutes and is named by uid and version, so that a start that takes it over wins. */
#include "backend/kubernetes/parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#define ROUND_MS 60000
#define LEAST_PAUSE_MS 500
#define HEAL_MS 5000
#define LEFT_MS 120000
#define WIPE_LEFT_MS 60000              /* for whoever made it to read how it ended */
#define KEY_GRACE_MS 5000
#define FAILED_MS 5000
#define POLICY_MS 600000

enum duty { DUTY_READ_SECRET, DUTY_MAKE_SECRET, DUTY_MAKE_SERVICE, DUTY_REMOVE_REST, DUTY_REMOVE_SERVICE, DUTY_REMOVE_WIPE };

/* One thing to do, with copies of all that it needs. */
struct task {
    struct task *next;
    enum duty duty;
    char *name;                         /* the terminal's */
    struct terminal_key *key;           /* or NULL */
    char *guest_key;
    struct object_id object;
};

struct round {
    struct kubernetes *k;
    int64_t now, next;                  /* monotonic; when something else will be due */
    struct task *tasks;
};

static struct task *add_task(struct round *round, enum duty duty, const char *name, const struct terminal_key *key)
{
    struct task *task = xcalloc(1, sizeof(*task));

    task->duty = duty;
    task->name = xstrdup(name);
    task->key = key ? terminal_key_copy(key) : NULL;
    task->next = round->tasks;
    round->tasks = task;
    return task;
}

static void free_task(struct task *task)
{
    free(task->name);
    terminal_key_free(task->key);
    secret_free(task->guest_key);
    object_id_clear(&task->object);
    free(task);
}

/* --- what is due (locked) ------------------------------------------------------------------------------------ */

static bool is_over(struct round *round, int64_t since, int64_t delay)
{
    if (round->now - since >= delay)
        return true;
    if (since + delay < round->next)
        round->next = since + delay;
    return false;
}

/* Whether `condition` has held for `delay`; `*since` remembers from when on. */
static bool has_lasted(struct round *round, int64_t *since, bool condition, int64_t delay)
{
    if (!condition)
        *since = 0;
    else if (!*since)
        *since = round->now;
    return condition && is_over(round, *since, delay);
}

static void look_at_times(struct round *round, struct pod_entry *pod)
{
    struct kubernetes *k = round->k;

    if (pod->unschedulable_ms && is_over(round, pod->unschedulable_ms, (int64_t)k->settings->kubernetes_unschedulable_s * 1000))
        picture_tell(k, pod);
    if (pod->guest_key || pod->state.phase != OBSERVED_RUNNING)
        return;
    if (!pod->secret_was_read) {
        pod->secret_was_read = true;
        add_task(round, DUTY_READ_SECRET, pod->name, pod->key)->object.uid = xstrdup(pod->uid);
    }
    if (is_over(round, pod->seen_ms, KEY_GRACE_MS))
        picture_tell(k, pod);
}

static void look_for_missing(struct round *round, struct pod_entry *pod)
{
    struct kubernetes *k = round->k;
    bool lives = (pod->state.phase == OBSERVED_RUNNING || pod->state.phase == OBSERVED_STARTING) && !current_start_exists(k, pod->name);
    char secret[OBJECT_NAME_SIZE];

    secret_name(pod->name, secret);
    if (has_lasted(round, &pod->no_secret_ms, lives && pod->guest_key && !picture_object(k, KIND_SECRETS, secret), HEAL_MS))
        add_task(round, DUTY_MAKE_SECRET, pod->name, pod->key)->guest_key = xstrdup(pod->guest_key);
    if (has_lasted(round, &pod->no_service_ms, lives && !picture_object(k, KIND_SERVICES, pod->name), HEAL_MS))
        (void)add_task(round, DUTY_MAKE_SERVICE, pod->name, pod->key);
}

/* Its own time limit does not run before a node has it, and while it is there no start gets the home. Who still waits for it is told that it failed. */
static bool is_wipe_over(struct round *round, struct pod_entry *pod)
{
    bool ended = pod->state.phase == OBSERVED_STOPPED || pod->state.phase == OBSERVED_FAILED;

    return has_lasted(round, &pod->ended_ms, ended, WIPE_LEFT_MS) || is_over(round, pod->seen_ms, wipe_limit_ms(round->k));
}

static void look_at_pods(struct round *round)
{
    size_t position = 0;
    struct str name;
    void *value;

    while (map_next(&round->k->pods, &position, &name, &value)) {
        struct pod_entry *pod = value;
        if (pod->is_wipe) {
            if (is_wipe_over(round, pod))
                add_task(round, DUTY_REMOVE_WIPE, pod->name, NULL)->object.uid = xstrdup(pod->uid);
        } else if (pod->key) {
            look_at_times(round, pod);
            look_for_missing(round, pod);
        }
    }
}

/* Of a terminal that is not there and is not being started here. */
static bool is_left(const struct kubernetes *k, const struct object_entry *object, const char *terminal)
{
    return object->key && object->version && !object->is_operators && !picture_pod(k, terminal) && !current_start_exists(k, terminal);
}

static void look_at_secrets(struct round *round)
{
    size_t position = 0;
    struct str name;
    void *value;

    while (map_next(&round->k->secrets, &position, &name, &value)) {
        struct object_entry *secret = value;
        if (!str_ends_with(name, STR_LITERAL("-apikey")))
            continue;
        cleanup_free char *terminal = xstrndup(name.data, name.len - strlen("-apikey"));
        if (!has_lasted(round, &secret->orphan_ms, is_left(round->k, secret, terminal), LEFT_MS))
            continue;
        struct task *task = add_task(round, DUTY_REMOVE_REST, terminal, secret->key);
        task->object = (struct object_id){ xstrdup(secret->uid), xstrdup(secret->version) };
    }
}

/* Those without a Secret; the others go with it. */
static void look_at_services(struct round *round)
{
    size_t position = 0;
    struct str name;
    void *value;

    while (map_next(&round->k->services, &position, &name, &value)) {
        struct object_entry *service = value;
        char secret[OBJECT_NAME_SIZE];
        secret_name(service->name, secret);
        if (!has_lasted(round, &service->orphan_ms, is_left(round->k, service, service->name) && !picture_object(round->k, KIND_SECRETS, secret), LEFT_MS))
            continue;
        struct task *task = add_task(round, DUTY_REMOVE_SERVICE, service->name, service->key);
        task->object = (struct object_id){ xstrdup(service->uid), xstrdup(service->version) };
    }
}

static bool all_synced(const struct kubernetes *k)
{
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        if (!k->listeners[kind].synced)
            return false;
    return true;
}

static void collect(struct round *round)
{
    struct kubernetes *k = round->k;

    WITH_PICTURE(k);
    k->keeper_needed = false;
    if (!all_synced(k))
        return;
    look_at_pods(round);
    look_at_secrets(round);
    look_at_services(round);
}

/* --- doing it ------------------------------------------------------------------------------------------------ */

/* A Secret without labels from which a pod of ours has its key belongs to that terminal: from now on it says so, and goes with it. */
static int label_secret(struct kubernetes *k, const struct task *task, const json_t *secret, struct error *err)
{
    cleanup_json json_t *labels = terminal_labels(task->key, task->name, k->settings->kubernetes_labels), *annotations = terminal_annotations(task->key);
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:O, s:O}}", "metadata", "uid", kube_uid(secret), "labels", labels, "annotations", annotations);

    return kube_merge_patch(k->client, &KUBE_SECRETS, k->namespace, kube_name(secret), NULL, patch, NULL, err);
}

/* The key of a pod of the original, whose Secret the watch may not show. */
static int read_secret(struct kubernetes *k, const struct task *task, struct error *err)
{
    cleanup_json json_t *secret = NULL;
    char name[OBJECT_NAME_SIZE];

    secret_name(task->name, name);
    if (kube_get(k->client, &KUBE_SECRETS, k->namespace, name, &secret, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    cleanup_secret char *guest_key = secret_read_key(secret);
    if (!guest_key)
        return 0;
    picture_set_guest_key(k, task->name, task->object.uid, guest_key);
    return kube_label(secret, LABEL_MANAGED_BY) ? 0 : label_secret(k, task, secret, err);
}

static int make_secret(struct kubernetes *k, const struct task *task, struct error *err)
{
    cleanup_secret char *guest_key = NULL;
    cleanup_object_id struct object_id created = { 0 };

    log_warning("the Secret of a running terminal is gone and is made again", LOG_STR("terminal", task->name));
    return secret_ensure(k, task->key, task->name, task->guest_key, &guest_key, &created, err);
}

static int make_service(struct kubernetes *k, const struct task *task, struct error *err)
{
    cleanup_free char *uid = NULL;

    log_warning("the Service of a running terminal is gone and is made again", LOG_STR("terminal", task->name));
    return service_ensure(k, task->key, task->name, &uid, err);
}

static int remove_rest(struct kubernetes *k, const struct task *task, struct error *err)
{
    cleanup_object_id struct object_id service = { 0 };
    char secret[OBJECT_NAME_SIZE];

    secret_name(task->name, secret);
    log_info("what is left of a terminal is removed; its home stays", LOG_STR("terminal", task->name));
    if (object_find(k, KIND_SERVICES, task->key, task->name, &service, err) < 0 || object_remove(k, KIND_SERVICES, task->name, &service, err) < 0)
        return -1;
    return object_remove(k, KIND_SECRETS, secret, &task->object, err);
}

static int remove_wipe(struct kubernetes *k, const struct task *task, struct error *err)
{
    struct kube_delete_options options = { .uid = task->object.uid, .grace_s = 0 };

    if (kube_delete(k->client, &KUBE_PODS, k->namespace, task->name, &options, err) == 0)
        return 0;
    return err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
}

static int perform(struct kubernetes *k, const struct task *task, struct error *err)
{
    switch (task->duty) {
    case DUTY_READ_SECRET: return read_secret(k, task, err);
    case DUTY_MAKE_SECRET: return make_secret(k, task, err);
    case DUTY_MAKE_SERVICE: return make_service(k, task, err);
    case DUTY_REMOVE_REST: return remove_rest(k, task, err);
    case DUTY_REMOVE_SERVICE: return object_remove(k, KIND_SERVICES, task->name, &task->object, err);
    case DUTY_REMOVE_WIPE: return remove_wipe(k, task, err);
    }
    return 0;
}

/* Whatever was due still is at the next round, which comes soon; but of a Secret it is remembered that it was read. */
static void repeat(struct round *round, const struct task *task, const struct error *why)
{
    log_warning("something could not be put right; it is tried again", LOG_STR("terminal", task->name), LOG_ERR(why));
    if (round->now + FAILED_MS < round->next)
        round->next = round->now + FAILED_MS;
    WITH_PICTURE(round->k);
    struct pod_entry *pod = task->duty == DUTY_READ_SECRET ? picture_pod(round->k, task->name) : NULL;
    if (pod)
        pod->secret_was_read = false;
}

static void perform_all(struct round *round)
{
    struct error err;

    while (round->tasks) {
        struct task *task = round->tasks;
        round->tasks = task->next;
        if (!atomic_load(&round->k->stopping) && perform(round->k, task, &err) < 0)
            repeat(round, task, &err);
        free_task(task);
    }
}

/* --- the thread ---------------------------------------------------------------------------------------------- */

/* Sleeps for `ms`, or until something odd was seen. */
static void sleep_for(struct kubernetes *k, int64_t ms, bool may_wake)
{
    struct timespec until = clock_deadline(ms);

    WITH_PICTURE(k);
    while (!atomic_load(&k->stopping) && !(may_wake && k->keeper_needed))
        if (pthread_cond_timedwait(&k->keeper_wakes, &k->lock, &until) != 0)
            return;
}

void *keeper_run(void *kubernetes)
{
    struct kubernetes *k = kubernetes;
    int64_t policy_due_ms = 0;

    while (!atomic_load(&k->stopping)) {
        struct round round = { .k = k, .now = clock_monotonic_ms() };
        round.next = round.now + ROUND_MS;
        if (round.now >= policy_due_ms)
            policy_due_ms = round.now + (network_policy_apply(k) ? POLICY_MS : ROUND_MS);
        collect(&round);
        perform_all(&round);
        sleep_for(k, LEAST_PAUSE_MS, false);
        sleep_for(k, round.next - clock_monotonic_ms(), true);
    }
    return NULL;
}
