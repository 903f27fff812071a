/* Labels, annotations, and whose an object is. Labels are for selecting and may hold hashes; the exact key stands in annotations. */
#include "backend/kubernetes/parts.h"

void secret_name(const char *name, char out[static OBJECT_NAME_SIZE])
{
    (void)snprintf(out, OBJECT_NAME_SIZE, "%s-apikey", name);
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void set_label(json_t *labels, const char *key, const char *value)
{
    cleanup_free char *valid = kube_label_value(value);
    json_object_set_new(labels, key, json_string(valid));
}

json_t *terminal_labels(const struct terminal_key *key, const char *instance, const json_t *extra)
{
    json_t *labels = extra ? json_deep_copy(extra) : json_object();
    char hash[13];

    key_hash12(key->context_id, hash);
    set_label(labels, LABEL_MANAGED_BY, LABEL_MANAGED_BY_VALUE);
    set_label(labels, LABEL_PART_OF, LABEL_PART_OF_VALUE);
    set_label(labels, "app.kubernetes.io/name", LABEL_PART_OF_VALUE);
    set_label(labels, LABEL_INSTANCE, instance);
    set_label(labels, LABEL_USER_ID, key->user_id);
    set_label(labels, LABEL_POLICY, key->policy_id);
    set_label(labels, LABEL_CONTEXT_ID, key->context_id);
    set_label(labels, LABEL_CONTEXT_TYPE, context_type(key->context_id));
    set_label(labels, LABEL_CONTEXT_HASH, hash);
    json_object_del(labels, LABEL_WIPE);
    return labels;
}

json_t *terminal_annotations(const struct terminal_key *key)
{
    return json_pack("{s:s, s:s, s:s}", ANNOTATION_USER_ID, key->user_id, ANNOTATION_POLICY_ID, key->policy_id,
                     ANNOTATION_CONTEXT_ID, key->context_id);
}

json_t *terminal_metadata(const struct terminal_key *key, const char *namespace, const char *name, const char *instance, const json_t *extra)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "name", name, "namespace", namespace, "labels", terminal_labels(key, instance, extra),
                     "annotations", terminal_annotations(key));
}

/* --- reading ------------------------------------------------------------------------------------------------- */

static bool is_managed(const json_t *object) { return managed_by_us(kube_label(object, LABEL_MANAGED_BY)); }

static bool is_exact(const json_t *object)
{
    return kube_annotation(object, ANNOTATION_USER_ID) && kube_annotation(object, ANNOTATION_POLICY_ID) &&
           kube_annotation(object, ANNOTATION_CONTEXT_ID);
}

static const char *label_or(const json_t *object, const char *label, const char *otherwise)
{
    const char *value = kube_label(object, label);
    return value && *value ? value : otherwise;
}

/* A label cannot hold every id. It is believed when it can be what it says and the hash beside it agrees. */
static bool context_label_is_exact(const json_t *object, const char *context)
{
    const char *expected = kube_label(object, LABEL_CONTEXT_HASH);
    struct str normal;
    char hash[13];

    key_hash12(context, hash);
    return context_id_normalise(str_from(context), &normal, NULL) == 0 && (!expected || strcmp(expected, hash) == 0);
}

struct terminal_key *key_of_object(const json_t *object)
{
    const char *user = label_or(object, LABEL_USER_ID, NULL), *context = label_or(object, LABEL_CONTEXT_ID, DEFAULT_CONTEXT_ID);

    if (!is_managed(object))
        return NULL;
    if (is_exact(object))
        return terminal_key_new(str_from(kube_annotation(object, ANNOTATION_USER_ID)), str_from(kube_annotation(object, ANNOTATION_POLICY_ID)),
                                str_from(kube_annotation(object, ANNOTATION_CONTEXT_ID)));
    if (!user || !context_label_is_exact(object, context))
        return NULL;
    return terminal_key_new(str_from(user), str_from(label_or(object, LABEL_POLICY, DEFAULT_POLICY_ID)), str_from(context));
}

static bool policy_fits(const json_t *object, const char *policy_id, bool slug_is_enough)
{
    const char *exact = kube_annotation(object, ANNOTATION_POLICY_ID), *label = label_or(object, LABEL_POLICY, DEFAULT_POLICY_ID);
    char slug[21];

    if (exact)
        return strcmp(exact, policy_id) == 0;
    policy_slug(policy_id, slug);
    return kube_label_stands_for(label, policy_id) || (slug_is_enough && *slug && strcmp(label, slug) == 0);
}

static bool context_fits(const json_t *object, const char *context_id)
{
    const char *expected = kube_label(object, LABEL_CONTEXT_HASH), *label = label_or(object, LABEL_CONTEXT_ID, NULL);
    char hash[13];

    key_hash12(context_id, hash);
    if (expected)
        return strcmp(expected, hash) == 0;
    return kube_label_stands_for(label ? label : DEFAULT_CONTEXT_ID, context_id);
}

enum owner owner_of_object(const json_t *object, const struct terminal_key *key, bool slug_is_enough)
{
    const char *user = label_or(object, LABEL_USER_ID, NULL);

    if (!is_managed(object))
        return OWNER_FOREIGN;
    if (is_exact(object)) {
        struct terminal_key *exact = key_of_object(object);
        bool same = terminal_key_equal(exact, key);
        terminal_key_free(exact);
        return same ? OWNER_SAME : OWNER_OTHER;
    }
    bool fits = user && kube_label_stands_for(user, key->user_id) && policy_fits(object, key->policy_id, slug_is_enough) &&
                context_fits(object, key->context_id);
    return fits ? OWNER_FITS : OWNER_OTHER;
}

int refuse_foreign(const char *kind, const char *name, enum owner owner, struct error *err)
{
    if (owner == OWNER_FOREIGN)
        return error_set(err, ERR_CONFLICT, "a %s named '%s' exists that is not ours; it is left alone: remove or rename it", kind, name);
    return error_set(err, ERR_CONFLICT, "the %s '%s' is labelled for another terminal; it is left alone: remove or rename it", kind, name);
}
