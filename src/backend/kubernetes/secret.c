/* The Secret with the guest's key, and taking Secrets and Services away.
 *
 * The Secret is made first and deleted last: while one is there, something of the terminal may be there. Two orchestrators that start the same terminal agree on
 * the key of the Secret that was made; one that takes over a Secret left from before stamps it, so that whoever still means to delete the old one finds it changed.
 *
 * In a namespace where both backends are used, an operator's terminal of the same name has a Secret of the same name. Both guests get its key then; the operator
 * alone changes it and takes it away. */
#include "backend/kubernetes/parts.h"
#include "base/random.h"

#define ATTEMPTS 8

static json_t *secret_body(const struct kubernetes *k, const struct terminal_key *key, const char *name, const char *object_name, const char *guest_key)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:{s:s}}", "apiVersion", "v1", "kind", "Secret", "type", "Opaque", "immutable", 1, "metadata",
                     terminal_metadata(key, k->namespace, object_name, name, k->settings->kubernetes_labels), "stringData", API_KEY_FIELD, guest_key);
}

static bool is_operators(const json_t *secret) { return kube_label(secret, LABEL_TERMINAL) != NULL; }

struct object_id object_id_of(const json_t *object)
{
    return (struct object_id){ xstrdup(kube_uid(object)), xstrdup(kube_text_at(object, "metadata", "resourceVersion", NULL)) };
}

/* Stamps the Secret, on condition that it is still as we saw it. */
static int claim(struct kubernetes *k, const struct terminal_key *key, const json_t *secret, struct error *err)
{
    cleanup_json json_t *annotations = terminal_annotations(key);
    cleanup_free char *stamp = random_token(9);

    json_object_set_new(annotations, ANNOTATION_CLAIMED, json_string(stamp));
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:O}}", "metadata", "resourceVersion", kube_text_at(secret, "metadata", "resourceVersion", NULL),
                                           "annotations", annotations);
    cleanup_json json_t *result = NULL;
    if (kube_merge_patch(k->client, &KUBE_SECRETS, k->namespace, kube_name(secret), NULL, patch, &result, err) < 0)
        return -1;
    picture_note(k, KIND_SECRETS, result);
    return 0;
}

/* The name is taken. 1: its key is ours to use now; 0: try to create again. */
static int take_over(struct kubernetes *k, const struct terminal_key *key, const char *object_name, char **guest_key, struct error *err)
{
    cleanup_json json_t *secret = NULL;

    if (kube_get(k->client, &KUBE_SECRETS, k->namespace, object_name, &secret, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    enum owner owner = owner_of_object(secret, key, true);
    if (owner != OWNER_SAME && owner != OWNER_FITS)
        return refuse_foreign("Secret", object_name, owner, err);
    *guest_key = secret_read_key(secret);
    if (is_operators(secret)) {
        picture_note(k, KIND_SECRETS, secret);
        return *guest_key ? 1 : error_set(err, ERR_UNAVAILABLE, "the Secret %s, which an operator keeps, holds no key yet", object_name);
    }
    if (!*guest_key) {
        struct kube_delete_options options = { .uid = kube_uid(secret), .grace_s = -1 };
        int result = kube_delete(k->client, &KUBE_SECRETS, k->namespace, object_name, &options, err);
        return result == 0 || err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
    }
    if (claim(k, key, secret, err) == 0)
        return 1;
    free(steal(guest_key));
    return err->class == ERR_NOT_FOUND || err->class == ERR_CONFLICT ? 0 : -1;
}

int secret_ensure(struct kubernetes *k, const struct terminal_key *key, const char *name, const char *wanted, char **guest_key,
                  struct object_id *created, struct error *err)
{
    char object_name[OBJECT_NAME_SIZE];

    secret_name(name, object_name);
    cleanup_json json_t *body = secret_body(k, key, name, object_name, wanted);
    for (int i = 0; i < ATTEMPTS; i++) {
        cleanup_json json_t *made = NULL;
        if (kube_create(k->client, &KUBE_SECRETS, k->namespace, body, &made, err) == 0) {
            picture_note(k, KIND_SECRETS, made);
            *guest_key = xstrdup(wanted);
            *created = object_id_of(made);
            return 0;
        }
        if (err->class != ERR_CONFLICT)
            return error_wrap(err, "making the Secret %s", object_name);
        int taken = take_over(k, key, object_name, guest_key, err);
        if (taken != 0)
            return taken < 0 ? -1 : 0;
    }
    return error_set(err, ERR_UNAVAILABLE, "the Secret %s comes and goes", object_name);
}

/* --- taking away --------------------------------------------------------------------------------------------- */

static const struct kube_resource *resource_of(enum kind kind)
{
    return kind == KIND_SECRETS ? &KUBE_SECRETS : &KUBE_SERVICES;
}

/* uid and version of the object as the picture has it, if it is this key's. */
static bool find_known(struct kubernetes *k, enum kind kind, const struct terminal_key *key, const char *name, struct object_id *id)
{
    WITH_PICTURE(k);
    const struct object_entry *known = picture_object(k, kind, name);

    if (!known || !known->key || !terminal_key_equal(known->key, key) || !known->version || known->is_operators)
        return false;
    *id = (struct object_id){ xstrdup(known->uid), xstrdup(known->version) };
    return true;
}

int object_find(struct kubernetes *k, enum kind kind, const struct terminal_key *key, const char *name, struct object_id *id, struct error *err)
{
    cleanup_json json_t *object = NULL;

    if (find_known(k, kind, key, name, id))
        return 0;
    if (kube_get(k->client, resource_of(kind), k->namespace, name, &object, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : error_wrap(err, "looking for the %s %s", resource_of(kind)->kind, name);
    enum owner owner = owner_of_object(object, key, true);
    if ((owner == OWNER_SAME || owner == OWNER_FITS) && !is_operators(object))
        *id = object_id_of(object);
    return 0;
}

int object_remove(struct kubernetes *k, enum kind kind, const char *name, const struct object_id *id, struct error *err)
{
    /* A Service's version changes for reasons of its own (a load balancer's address); a Secret's only when somebody takes it over. */
    struct kube_delete_options options = { .uid = id->uid, .resource_version = kind == KIND_SECRETS ? id->version : NULL, .grace_s = -1 };

    if (!id->uid)
        return 0;
    if (kube_delete(k->client, resource_of(kind), k->namespace, name, &options, err) < 0 && err->class != ERR_NOT_FOUND)
        return err->class == ERR_CONFLICT ? 0 : error_wrap(err, "deleting the %s %s", resource_of(kind)->kind, name);
    picture_forget(k, kind, name, id->uid);
    return 0;
}

void object_id_clear(struct object_id *id)
{
    free(id->uid);
    free(id->version);
}
