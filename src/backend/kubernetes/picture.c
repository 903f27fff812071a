/* Our picture of the namespace: the pods, Secrets and Services that carry our labels, as list and watch tell them, and what follows for the fleet.
 *
 * A running guest is told of only with its key. The key stands in the Secret, which comes by another watch than the pod; a pod whose Secret has not come
 * yet counts as starting for a moment, and one whose Secret is gone, or is not the one it was started with, as one that has to be replaced. */
#include "backend/kubernetes/parts.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "kubernetes/pod.h"

#define SECRET_GRACE_MS 5000
#define CODED_KEY_MAX 8192

/* --- entries ------------------------------------------------------------------------------------------------- */

static void free_pod(void *value)
{
    struct pod_entry *pod = value;

    if (!pod)
        return;
    free(pod->name);
    free(pod->uid);
    terminal_key_free(pod->key);
    secret_free(pod->guest_key);
    free(pod->image);
    free(pod->spec_hash);
    free(pod);
}

static void free_object(void *value)
{
    struct object_entry *object = value;

    if (!object)
        return;
    free(object->name);
    free(object->uid);
    free(object->version);
    terminal_key_free(object->key);
    secret_free(object->guest_key);
    free(object->cluster_ip);
    free(object);
}

static void free_text(void *value) { free(value); }

void picture_init(struct kubernetes *k)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &monotonic);
    pthread_cond_init(&k->keeper_wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
    list_init(&k->starting);
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        k->listeners[kind] = (struct listener){ .k = k, .kind = kind };
}

void picture_free(struct kubernetes *k)
{
    map_free(&k->pods, free_pod);
    map_free(&k->secrets, free_object);
    map_free(&k->services, free_object);
    map_free(&k->cleaners, free_text);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->changed);
    pthread_cond_destroy(&k->keeper_wakes);
}

static const struct map *map_of(const struct kubernetes *k, enum kind kind)
{
    return kind == KIND_PODS ? &k->pods : kind == KIND_SECRETS ? &k->secrets : &k->services;
}

struct pod_entry *picture_pod(const struct kubernetes *k, const char *name)
{
    return map_get(&k->pods, str_from(name));
}

struct object_entry *picture_object(const struct kubernetes *k, enum kind kind, const char *name)
{
    return map_get(map_of(k, kind), str_from(name));
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

char *secret_read_key(const json_t *secret)
{
    const char *plain = kube_text_at(secret, "stringData", API_KEY_FIELD, NULL), *coded = kube_text_at(secret, "data", API_KEY_FIELD, NULL);
    size_t len;

    if (plain && *plain)
        return xstrdup(plain);
    if (!coded || strlen(coded) > CODED_KEY_MAX)
        return NULL;
    cleanup_secret char *key = base64_decode(coded, &len);
    if (!key || len == 0 || memchr(key, '\0', len) || str_has_control(str_of(key, len)))
        return NULL;
    return steal(&key);
}

static bool is_key_of(const struct pod_entry *pod, const char *guest_key)
{
    char hash[13];

    key_hash12(guest_key, hash);
    return !pod->key_hash[0] || strcmp(pod->key_hash, hash) == 0;
}

static void find_guest_key(const struct kubernetes *k, struct pod_entry *pod)
{
    char name[OBJECT_NAME_SIZE];

    if (pod->guest_key)
        return;
    secret_name(pod->name, name);
    const struct object_entry *secret = picture_object(k, KIND_SECRETS, name);
    if (secret && secret->guest_key && is_key_of(pod, secret->guest_key))
        pod->guest_key = xstrdup(secret->guest_key);
}

void picture_set_guest_key(struct kubernetes *k, const char *name, const char *uid, const char *guest_key)
{
    WITH_PICTURE(k);
    struct pod_entry *pod = picture_pod(k, name);

    if (!pod || strcmp(pod->uid, uid) != 0 || pod->guest_key || !is_key_of(pod, guest_key))
        return;
    pod->guest_key = xstrdup(guest_key);
    picture_tell(k, pod);
}

/* --- telling ------------------------------------------------------------------------------------------------- */

static bool is_by_service(const struct kubernetes *k)
{
    return strcmp(k->settings->kubernetes_address, "service") == 0;
}

static bool fill_endpoint(const char *ip, struct endpoint *endpoint)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&endpoint->address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&endpoint->address;

    if (inet_pton(AF_INET, ip, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(GUEST_PORT);
        endpoint->address_len = sizeof(*four);
    } else if (inet_pton(AF_INET6, ip, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(GUEST_PORT);
        endpoint->address_len = sizeof(*six);
    } else {
        return false;
    }
    (void)snprintf(endpoint->host, sizeof(endpoint->host), "%s", ip);
    endpoint->port = GUEST_PORT;
    return true;
}

/* The address of the running guest; false while it is not known. */
static bool find_endpoint(const struct kubernetes *k, const struct pod_entry *pod, struct endpoint *endpoint)
{
    if (!is_by_service(k))
        return fill_endpoint(pod->state.ip, endpoint);
    const struct object_entry *service = picture_object(k, KIND_SERVICES, pod->name);
    return service && service->cluster_ip && fill_endpoint(service->cluster_ip, endpoint);
}

/* Nothing is missing for ever without being said: the keeper tells again when the grace is over. */
static void tell_running(struct kubernetes *k, const struct pod_entry *pod, struct observation *seen)
{
    bool late = clock_monotonic_ms() - pod->seen_ms >= SECRET_GRACE_MS;

    seen->ready = pod->state.ready && !is_by_service(k);    /* a Service takes a moment longer than its pod */
    if (pod->guest_key && find_endpoint(k, pod, &seen->endpoint))
        return;
    seen->phase = OBSERVED_STARTING;
    if (pod->guest_key || !late)
        return;
    seen->phase = OBSERVED_STOPPED;
    seen->message = "runs without a key that is known; it will be replaced";
}

bool picture_finds_no_node(const struct kubernetes *k, const struct pod_entry *pod)
{
    return pod->unschedulable_ms && clock_monotonic_ms() - pod->unschedulable_ms >= (int64_t)k->settings->kubernetes_unschedulable_s * 1000;
}

void picture_tell(struct kubernetes *k, struct pod_entry *pod)
{
    const struct pod_state *state = &pod->state;
    char id[OBJECT_NAME_SIZE];

    if (!k->observer || pod->is_wipe || !pod->key)
        return;
    find_guest_key(k, pod);
    instance_id_format(pod->uid, state->restarts, id);
    struct observation seen = {
        .name = pod->name, .key = pod->key, .phase = state->phase, .instance_id = id, .guest_key = pod->guest_key, .spec_hash = pod->spec_hash,
        .image = pod->image, .failure = state->unschedulable ? ERR_NONE : state->failure, .message = state->message[0] ? state->message : NULL,
        .preparing = state->preparing,
    };
    if (seen.phase == OBSERVED_RUNNING)
        tell_running(k, pod, &seen);
    if (state->unschedulable && state->phase == OBSERVED_STARTING && picture_finds_no_node(k, pod)) {
        seen.phase = OBSERVED_FAILED;
        seen.failure = state->failure;
    }
    k->observer->observe(k->observer, &seen);
}

static void tell_gone(struct kubernetes *k, const struct pod_entry *pod)
{
    char id[OBJECT_NAME_SIZE];

    if (!k->observer || pod->is_wipe || !pod->key)
        return;
    instance_id_format(pod->uid, pod->state.restarts, id);
    k->observer->observe(k->observer, &(struct observation){ .name = pod->name, .key = pod->key, .phase = OBSERVED_ABSENT, .instance_id = id });
}

void picture_tell_absent(struct kubernetes *k, const char *name, const struct terminal_key *key)
{
    WITH_PICTURE(k);
    if (k->observer && !picture_pod(k, name))
        k->observer->observe(k->observer, &(struct observation){ .name = name, .key = key, .phase = OBSERVED_ABSENT });
}

/* --- pods ---------------------------------------------------------------------------------------------------- */

static void remove_pod(struct kubernetes *k, struct pod_entry *pod)
{
    (void)map_remove(&k->pods, str_from(pod->name));
    tell_gone(k, pod);
    free_pod(pod);
    picture_wake_keeper(k);         /* its Secret and Service may be left */
}

static struct pod_entry *pod_for(struct kubernetes *k, const char *name, const char *uid)
{
    struct pod_entry *pod = picture_pod(k, name);

    if (pod && strcmp(pod->uid, uid) == 0)
        return pod;
    if (pod)
        remove_pod(k, pod);
    pod = xcalloc(1, sizeof(*pod));
    pod->name = xstrdup(name);
    pod->uid = xstrdup(uid);
    pod->seen_ms = clock_monotonic_ms();
    (void)map_put(&k->pods, str_from(name), pod);
    return pod;
}

static void note_pod(struct kubernetes *k, const json_t *object)
{
    struct pod_entry *pod = pod_for(k, kube_name(object), kube_uid(object));
    const char *key_hash = kube_annotation(object, ANNOTATION_KEY_HASH);

    terminal_key_free(pod->key);
    pod->key = key_of_object(object);
    pod->is_wipe = kube_label(object, LABEL_WIPE) != NULL;
    pod_state_read(object, pod->was_ready, &pod->state);
    pod->was_ready = pod->was_ready || pod->state.ready;
    (void)snprintf(pod->key_hash, sizeof(pod->key_hash), "%s", key_hash ? key_hash : "");
    xreplace(&pod->image, json_text(kube_guest_container(object), "image"));
    xreplace(&pod->spec_hash, kube_annotation(object, ANNOTATION_SPEC_HASH));
    pod->listing = k->listeners[KIND_PODS].listing;
    if (!pod->state.unschedulable)
        pod->unschedulable_ms = 0;
    else if (!pod->unschedulable_ms)
        pod->unschedulable_ms = clock_monotonic_ms();
    picture_tell(k, pod);
    if (pod->state.unschedulable || !pod->guest_key)
        picture_wake_keeper(k);
}

/* --- Secrets and Services ------------------------------------------------------------------------------------ */

/* The pod whose Secret or Service has this name. */
static struct pod_entry *pod_of_object(const struct kubernetes *k, enum kind kind, const char *name)
{
    struct str suffix = STR_LITERAL("-apikey"), text = str_from(name);

    if (kind == KIND_SERVICES)
        return picture_pod(k, name);
    if (!str_ends_with(text, suffix))
        return NULL;
    return map_get(&k->pods, str_of(text.data, text.len - suffix.len));
}

static void note_object(struct kubernetes *k, enum kind kind, const json_t *json)
{
    const char *name = kube_name(json), *ip = kube_text_at(json, "spec", "clusterIP", NULL);
    struct object_entry *object = picture_object(k, kind, name);

    if (!object) {
        object = xcalloc(1, sizeof(*object));
        object->name = xstrdup(name);
        (void)map_put((struct map *)map_of(k, kind), str_from(name), object);
    }
    const char *version = kube_text_at(json, "metadata", "resourceVersion", NULL);
    if (object->version && version && strcmp(object->version, version) != 0)
        object->orphan_ms = 0;          /* somebody has taken it over */
    xreplace(&object->uid, kube_uid(json));
    xreplace(&object->version, version);
    terminal_key_free(object->key);
    object->key = key_of_object(json);
    object->listing = k->listeners[kind].listing;
    if (kind == KIND_SECRETS) {
        secret_free(object->guest_key);
        object->guest_key = secret_read_key(json);
        object->is_operators = kube_label(json, LABEL_TERMINAL) != NULL;
    } else {
        xreplace(&object->cluster_ip, ip && *ip && strcmp(ip, "None") != 0 ? ip : NULL);
    }
    struct pod_entry *pod = pod_of_object(k, kind, name);
    if (pod)
        picture_tell(k, pod);
    else
        picture_wake_keeper(k);
}

static void remove_object(struct kubernetes *k, enum kind kind, struct object_entry *object)
{
    struct pod_entry *pod = pod_of_object(k, kind, object->name);

    (void)map_remove((struct map *)map_of(k, kind), str_from(object->name));
    free_object(object);
    if (pod)
        picture_tell(k, pod);
    picture_wake_keeper(k);
}

void picture_note(struct kubernetes *k, enum kind kind, const json_t *object)
{
    WITH_PICTURE(k);
    const struct object_entry *known = picture_object(k, kind, kube_name(object));
    if (!known || strcmp(known->uid, kube_uid(object)) != 0)
        note_object(k, kind, object);
}

void picture_forget(struct kubernetes *k, enum kind kind, const char *name, const char *uid)
{
    WITH_PICTURE(k);
    struct object_entry *known = picture_object(k, kind, name);
    if (known && (!uid || strcmp(known->uid, uid) == 0))
        remove_object(k, kind, known);
}

void picture_forget_pod(struct kubernetes *k, const char *name, const char *uid)
{
    WITH_PICTURE(k);
    struct pod_entry *pod = picture_pod(k, name);
    if (pod && strcmp(pod->uid, uid) == 0)
        remove_pod(k, pod);
}

/* --- what the informers tell --------------------------------------------------------------------------------- */

static void listing_begin(void *context)
{
    struct listener *listener = context;
    struct kubernetes *k = listener->k;

    WITH_PICTURE(k);
    listener->listing++;
    if (listener->kind == KIND_PODS && k->observer)
        k->observer->listing_begin(k->observer);
}

static void remove_by_event(struct kubernetes *k, enum kind kind, const json_t *json)
{
    const char *name = kube_name(json), *uid = kube_uid(json);

    if (kind == KIND_PODS) {
        struct pod_entry *pod = picture_pod(k, name);
        if (pod && strcmp(pod->uid, uid) == 0)
            remove_pod(k, pod);
    } else {
        struct object_entry *object = picture_object(k, kind, name);
        if (object && strcmp(object->uid, uid) == 0)
            remove_object(k, kind, object);
    }
}

static void take_object(void *context, const json_t *json, bool deleted)
{
    struct listener *listener = context;
    struct kubernetes *k = listener->k;

    if (!kube_name(json) || !kube_uid(json))
        return;
    WITH_PICTURE(k);
    if (deleted)
        remove_by_event(k, listener->kind, json);
    else if (listener->kind == KIND_PODS)
        note_pod(k, json);
    else
        note_object(k, listener->kind, json);
    pthread_cond_broadcast(&k->changed);
}

/* Removing the current entry while stepping is allowed; each removal touches only its own map. */
static void remove_unseen(struct kubernetes *k, const struct listener *listener)
{
    size_t position = 0;
    struct str name;
    void *value;

    while (map_next(map_of(k, listener->kind), &position, &name, &value)) {
        struct pod_entry *pod = value;
        struct object_entry *object = value;

        if (listener->kind == KIND_PODS && pod->listing != listener->listing)
            remove_pod(k, pod);
        else if (listener->kind != KIND_PODS && object->listing != listener->listing)
            remove_object(k, listener->kind, object);
    }
}

static void listing_end(void *context)
{
    struct listener *listener = context;
    struct kubernetes *k = listener->k;

    WITH_PICTURE(k);
    remove_unseen(k, listener);
    listener->synced = true;
    if (listener->kind == KIND_PODS && k->observer)
        k->observer->listing_end(k->observer);
    pthread_cond_broadcast(&k->changed);
    picture_wake_keeper(k);
}

static void take_reachable(void *context, const struct error *err)
{
    struct listener *listener = context;
    struct kubernetes *k = listener->k;
    bool failing = false;

    WITH_PICTURE(k);
    listener->failing = err != NULL;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        failing = failing || k->listeners[kind].failing;
    if (k->observer && (err || !failing))
        k->observer->reachable(k->observer, err);
}

const struct kube_handler picture_handler = {
    .listing_begin = listing_begin, .object = take_object, .listing_end = listing_end, .reachable = take_reachable,
};

/* --- waiting ------------------------------------------------------------------------------------------------- */

void picture_wait(struct kubernetes *k, int64_t ms)
{
    struct timespec until = clock_deadline(ms);

    if (!atomic_load(&k->stopping))
        (void)pthread_cond_timedwait(&k->changed, &k->lock, &until);
}

void picture_wake_keeper(struct kubernetes *k)
{
    k->keeper_needed = true;
    pthread_cond_signal(&k->keeper_wakes);
}

/* --- starts that run ----------------------------------------------------------------------------------------- */

void current_start_begin(struct kubernetes *k, struct current_start *start, const char *name)
{
    WITH_PICTURE(k);
    start->name = name;
    list_append(&k->starting, &start->node);
}

void current_start_end(struct kubernetes *k, struct current_start *start)
{
    WITH_PICTURE(k);
    list_remove(&start->node);
}

bool current_start_exists(const struct kubernetes *k, const char *name)
{
    LIST_FOR_EACH(node, &k->starting)
        if (strcmp(LIST_ENTRY(node, struct current_start, node)->name, name) == 0)
            return true;
    return false;
}
