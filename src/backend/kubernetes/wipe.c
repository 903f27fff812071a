/* Emptying a home: a short-lived pod with the terminal's own image and security context mounts it, removes everything inside, and its end is seen by the watch. */
#include "backend/kubernetes/parts.h"

#include "base/clock.h"
#include "base/log.h"

#define WAIT_MS 1000
#define LIMIT_MARGIN_MS 60000

struct wipe {
    struct kubernetes *k;
    const struct terminal_ref *ref;
    const char *name;                   /* of the terminal */
    char pod[OBJECT_NAME_SIZE];
    int64_t deadline_ms;
};

static int64_t timeout_ms(const struct kubernetes *k) { return (int64_t)k->settings->idle_cleanup_timeout_s * 1000; }

int64_t wipe_limit_ms(const struct kubernetes *k) { return timeout_ms(k) + LIMIT_MARGIN_MS; }

/* --- the pod ------------------------------------------------------------------------------------------------- */

static json_t *cleaner_of(const struct wipe *wipe, const struct home *home)
{
    const struct settings *settings = wipe->k->settings;
    const char *image = wipe->ref->image ? wipe->ref->image : settings->kubernetes_image ? settings->kubernetes_image : settings->image;
    json_t *noted = home->cleaner ? json_read(str_from(home->cleaner), NULL) : NULL;

    if (json_is_object(noted) && json_is_object(json_object_get(noted, "container")))
        return noted;
    json_decref(noted);
    return default_cleaner(settings, image);
}

static json_t *make_body(const struct wipe *wipe, const struct home *home)
{
    struct pod_plan plan = { .name = wipe->pod, .namespace = wipe->k->namespace, .claim = home->claim, .sub_path = home->sub_path,
                             .settings = wipe->k->settings };
    cleanup_json json_t *cleaner = cleaner_of(wipe, home);

    return wipe_body(wipe->ref->key, &plan, cleaner);
}

static int delete_pod(struct wipe *wipe, const char *uid, struct error *err)
{
    struct kube_delete_options options = { .uid = uid, .grace_s = 0 };

    if (kube_delete(wipe->k->client, &KUBE_PODS, wipe->k->namespace, wipe->pod, &options, err) == 0)
        return 0;
    return err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : error_wrap(err, "deleting the pod %s", wipe->pod);
}

/* Whether it will not empty the home any more, as far as can be told: it ended, it failed, no node takes it, or it is there for longer than anybody waits. */
static bool is_hopeless(struct kubernetes *k, const json_t *pod)
{
    struct pod_state state;

    pod_state_read(pod, false, &state);
    if (state.phase == OBSERVED_STOPPED || state.phase == OBSERVED_FAILED)
        return true;
    WITH_PICTURE(k);
    const struct pod_entry *entry = picture_pod(k, kube_name(pod));
    return entry && strcmp(entry->uid, kube_uid(pod)) == 0 &&
           (picture_finds_no_node(k, entry) || clock_monotonic_ms() - entry->seen_ms >= wipe_limit_ms(k));
}

/* One is there: another orchestrator's, or left by one that ended. What it still does is not what we were asked for after it began: it is waited for while there
 * is hope that it ends, and ours follows. Who waits for one that is removed here is told that it failed. */
static int clear_old(struct wipe *wipe, struct error *err)
{
    cleanup_json json_t *pod = NULL;

    if (kube_get(wipe->k->client, &KUBE_PODS, wipe->k->namespace, wipe->pod, &pod, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    enum owner owner = owner_of_object(pod, wipe->ref->key, false);
    if (owner != OWNER_SAME)
        return refuse_foreign("pod", wipe->pod, owner, err);
    if (is_hopeless(wipe->k, pod) && delete_pod(wipe, kube_uid(pod), err) < 0)
        return -1;
    WITH_PICTURE(wipe->k);
    picture_wait(wipe->k, WAIT_MS);
    return 0;
}

/* `*uid` is owned by the caller. */
static int create_pod(struct wipe *wipe, const struct home *home, char **uid, struct error *err)
{
    cleanup_json json_t *body = make_body(wipe, home);

    while (clock_monotonic_ms() < wipe->deadline_ms && !atomic_load(&wipe->k->stopping)) {
        cleanup_json json_t *made = NULL;
        if (kube_create(wipe->k->client, &KUBE_PODS, wipe->k->namespace, body, &made, err) == 0) {
            *uid = xstrdup(kube_uid(made));
            return 0;
        }
        if (err->class != ERR_CONFLICT)
            return error_wrap(err, "making the pod %s", wipe->pod);
        if (clear_old(wipe, err) < 0)
            return -1;
    }
    return error_set(err, ERR_TIMEOUT, "an old pod %s does not go away", wipe->pod);
}

/* --- its end ------------------------------------------------------------------------------------------------- */

/* Waits for the end of our pod; `*state` is how. */
static int wait_for_end(struct wipe *wipe, const char *uid, struct pod_state *state, struct error *err)
{
    struct kubernetes *k = wipe->k;
    bool was_there = false;

    WITH_PICTURE(k);
    while (clock_monotonic_ms() < wipe->deadline_ms && !atomic_load(&k->stopping)) {
        const struct pod_entry *pod = picture_pod(k, wipe->pod);
        bool is_there = pod && strcmp(pod->uid, uid) == 0;
        if (is_there)
            *state = pod->state;
        if (is_there && (state->phase == OBSERVED_STOPPED || state->phase == OBSERVED_FAILED))
            return 0;
        if (was_there && !is_there)
            return error_set(err, ERR_UNAVAILABLE, "the pod %s was removed before it was done", wipe->pod);
        was_there = was_there || is_there;
        picture_wait(k, WAIT_MS);
    }
    return error_set(err, ERR_TIMEOUT, "the pod %s was not done in time%s%s", wipe->pod, state->message[0] ? ": " : "", state->message);
}

static int run(struct wipe *wipe, const struct home *home, struct error *err)
{
    struct pod_state state = { 0 };
    cleanup_free char *uid = NULL;
    struct error ignored;

    if (create_pod(wipe, home, &uid, err) < 0)
        return -1;
    int result = wait_for_end(wipe, uid, &state, err);
    if (result == 0 && !state.ended_well) {
        cleanup_free char *said = last_words(wipe->k, wipe->pod, "wipe", false);
        result = error_set(err, state.failure == ERR_NONE ? ERR_UNAVAILABLE : state.failure, "the pod %s: %s%s%s", wipe->pod, state.message,
                           *said ? ": " : "", said);
    }
    if (delete_pod(wipe, uid, &ignored) < 0)
        log_warning("a pod that emptied a home stays for now", LOG_STR("pod", wipe->pod), LOG_ERR(&ignored));
    return result;
}

static int wipe_one(struct wipe *wipe, bool shared, bool *found, struct error *err)
{
    cleanup_home struct home home = { 0 };

    *found = false;
    if (home_claim_find(wipe->k, wipe->ref->key, wipe->name, shared, &home, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    *found = true;
    return home.unused ? 0 : run(wipe, &home, err);
}

/* The terminal's policy may have moved the home between a claim of its own and the shared one: whichever is there is emptied. */
int kubernetes_wipe(struct kubernetes *k, const struct terminal_ref *ref, struct error *err)
{
    char derived[TERMINAL_NAME_SIZE];
    bool found;
    struct wipe wipe = { .k = k, .ref = ref, .name = derived,
                         .deadline_ms = clock_monotonic_ms() + timeout_ms(k) };

    terminal_name(ref->key, NAME_PREFIX, derived);
    (void)snprintf(wipe.pod, sizeof(wipe.pod), "%s-wipe", derived);
    if (wipe_one(&wipe, false, &found, err) < 0)
        return error_wrap(err, "emptying the home");
    if ((home_may_be_shared(k, derived) || !found) && wipe_one(&wipe, true, &found, err) < 0)
        return error_wrap(err, "emptying the home");
    return 0;
}
