/* Ending a terminal: the pod, then its Service, then its Secret; the home stays. Each deletion names the very object that was meant, so that one that was made
 * meanwhile by another start is left alone. */
#include "backend/kubernetes/parts.h"

/* The pod that `ref` means as the picture has it: its uid, owned by the caller; NULL: none. */
static char *find_in_picture(struct kubernetes *k, const struct terminal_ref *ref, const char *name)
{
    WITH_PICTURE(k);
    const struct pod_entry *pod = picture_pod(k, name);

    return pod && pod->key && terminal_key_equal(pod->key, ref->key) ? xstrdup(pod->uid) : NULL;
}

/* The same from the API server, for a pod of which no event has come yet. */
static int find_really(struct kubernetes *k, const struct terminal_ref *ref, const char *name, char **uid, struct error *err)
{
    cleanup_json json_t *pod = NULL;

    if (kube_get(k->client, &KUBE_PODS, k->namespace, name, &pod, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    if (owner_of_object(pod, ref->key, false) == OWNER_SAME && !kube_label(pod, LABEL_WIPE))
        *uid = xstrdup(kube_uid(pod));
    return 0;
}

/* `*deleted`: it was there, and is on its way out now. */
static int remove_pod(struct kubernetes *k, const struct terminal_ref *ref, const char *name, unsigned grace_s, bool *deleted, struct error *err)
{
    cleanup_free char *uid = ref->instance_id ? instance_id_uid(ref->instance_id) : find_in_picture(k, ref, name);

    *deleted = false;
    if (!uid && find_really(k, ref, name, &uid, err) < 0)
        return -1;
    if (!uid) {
        picture_tell_absent(k, name, ref->key);
        return 0;
    }
    struct kube_delete_options options = { .uid = uid, .grace_s = grace_s };
    *deleted = kube_delete(k->client, &KUBE_PODS, k->namespace, name, &options, err) == 0;
    if (*deleted)
        return 0;
    if (err->class != ERR_NOT_FOUND && err->class != ERR_CONFLICT)
        return error_wrap(err, "deleting the pod %s", name);
    picture_forget_pod(k, name, uid);
    picture_tell_absent(k, name, ref->key);
    return 0;
}

/* The rest is looked for first and removed only with its pod: a Secret that is there after the pod has gone may be the next start's. What a pod leaves that
 * others deleted, the keeper clears up. */
static int stop(struct kubernetes *k, const struct terminal_ref *ref, const char *name, unsigned grace_s, struct error *err)
{
    cleanup_object_id struct object_id service = { 0 }, secret = { 0 };
    char secret_object[OBJECT_NAME_SIZE];
    bool deleted;

    secret_name(name, secret_object);
    if (object_find(k, KIND_SERVICES, ref->key, name, &service, err) < 0 || object_find(k, KIND_SECRETS, ref->key, secret_object, &secret, err) < 0)
        return -1;
    if (remove_pod(k, ref, name, grace_s, &deleted, err) < 0)
        return -1;
    if (!deleted)
        return 0;
    if (object_remove(k, KIND_SERVICES, name, &service, err) < 0)
        return -1;
    return object_remove(k, KIND_SECRETS, secret_object, &secret, err);
}

int kubernetes_stop(struct kubernetes *k, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    char derived[TERMINAL_NAME_SIZE];
    const char *name = ref->name ? ref->name : derived;

    terminal_name(ref->key, NAME_PREFIX, derived);
    return stop(k, ref, name, grace_s, err) < 0 ? error_wrap(err, "stopping '%s'", name) : 0;
}
