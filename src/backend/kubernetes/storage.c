/* Homes. Per user: one claim for each terminal key. Shared: one claim for the namespace, in it a directory for each key.
 *
 * A claim is made by its name and found again by what its labels and annotations say. The original's claims know only the slug of their policy; the first policy that
 * comes with that slug writes itself into the annotation, and another one with the same slug gets a claim of its own beside it. */
#include "backend/kubernetes/parts.h"

#include "base/log.h"
#include "base/secret.h"

#define ATTEMPTS 5

void home_clear(struct home *home)
{
    free(home->claim);
    free(home->sub_path);
    free(home->cleaner);
    object_id_clear(&home->created);
}

/* --- bodies -------------------------------------------------------------------------------------------------- */

static bool is_shared(const char *mode)
{
    return strcmp(mode, "per-user") != 0;
}

static const char *mode_of(const struct kubernetes *k, const char *wanted)
{
    return wanted ? wanted : k->settings->kubernetes_storage_mode;
}

static char *shared_claim_name(const struct kubernetes *k)
{
    return xasprintf("terminals-shared-%s", k->namespace);
}

static json_t *claim_spec(const struct terminal_spec *spec, const char *mode, const struct settings *settings)
{
    cleanup_free char *size = spec && spec->storage_bytes && !is_shared(mode) ? kube_format_bytes(spec->storage_bytes)
                                                                            : kube_format_size(settings->kubernetes_storage_size);
    json_t *claim = json_pack("{s:[s], s:{s:{s:s}}}", "accessModes", strcmp(mode, "shared") == 0 ? "ReadWriteMany" : "ReadWriteOnce",
                              "resources", "requests", "storage", size);

    if (settings->kubernetes_storage_class)
        json_object_set_new(claim, "storageClassName", json_string(settings->kubernetes_storage_class));
    return claim;
}

static json_t *shared_metadata(const char *claim, const struct settings *settings)
{
    json_t *labels = settings->kubernetes_labels ? json_deep_copy(settings->kubernetes_labels) : json_object();

    json_object_set_new(labels, LABEL_MANAGED_BY, json_string(LABEL_MANAGED_BY_VALUE));
    json_object_set_new(labels, LABEL_PART_OF, json_string(LABEL_PART_OF_VALUE));
    return json_pack("{s:s, s:s, s:o}", "name", claim, "namespace", settings->kubernetes_namespace, "labels", labels);
}

json_t *claim_body(const struct terminal_spec *spec, const char *claim, const char *name, const char *mode, const struct settings *settings,
                   const json_t *cleaner)
{
    json_t *metadata = is_shared(mode) ? shared_metadata(claim, settings)
                                       : terminal_metadata(spec->key, settings->kubernetes_namespace, claim, name, settings->kubernetes_labels);
    cleanup_free char *text = cleaner && !is_shared(mode) ? json_write(cleaner) : NULL;

    if (text)
        json_object_set_new(json_object_get(metadata, "annotations"), ANNOTATION_CLEANER, json_string(text));
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "PersistentVolumeClaim", "metadata", metadata,
                     "spec", claim_spec(spec, mode, settings));
}

/* --- one claim ----------------------------------------------------------------------------------------------- */

static void set_text(char **place, const char *text)
{
    free(*place);
    *place = text ? xstrdup(text) : NULL;
}

static void fill_home(struct home *home, const json_t *claim)
{
    const char *phase = kube_text_at(claim, "status", "phase", NULL);

    set_text(&home->claim, kube_name(claim));
    set_text(&home->cleaner, kube_annotation(claim, ANNOTATION_CLEANER));
    home->unused = phase && strcmp(phase, "Pending") == 0;
}

/* Looks at one claim. 1: it is this key's; 0: there is none, or another's (`*taken`). `*claim` (owned by the caller) where there is one. */
static int look_at(struct kubernetes *k, const char *claim_name, const struct terminal_key *key, json_t **claim, bool *taken, struct error *err)
{
    *taken = false;
    if (kube_get(k->client, &KUBE_PVCS, k->namespace, claim_name, claim, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : error_wrap(err, "looking for the claim %s", claim_name);
    enum owner owner = owner_of_object(*claim, key, true);
    *taken = owner != OWNER_SAME && owner != OWNER_FITS;
    return *taken ? 0 : 1;
}

/* Writes into the claim whose it is now and what will empty it, if that is not there already. 0: another wrote first, look again. */
static int claim_for(struct kubernetes *k, const struct terminal_key *key, const json_t *claim, const json_t *cleaner, struct error *err)
{
    cleanup_free char *text = json_write(cleaner);
    const char *noted = kube_annotation(claim, ANNOTATION_CLEANER);
    cleanup_json json_t *annotations = terminal_annotations(key);

    if (owner_of_object(claim, key, true) == OWNER_SAME && noted && text && strcmp(noted, text) == 0)
        return 1;
    if (text)
        json_object_set_new(annotations, ANNOTATION_CLEANER, json_string(text));
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:O}}", "metadata", "resourceVersion", kube_text_at(claim, "metadata", "resourceVersion", NULL),
                                           "annotations", annotations);
    if (kube_merge_patch(k->client, &KUBE_PVCS, k->namespace, kube_name(claim), NULL, patch, NULL, err) == 0)
        return 1;
    return err->class == ERR_CONFLICT || err->class == ERR_NOT_FOUND ? 0 : error_wrap(err, "claiming the home %s", kube_name(claim));
}

/* Uses the claim if it is this key's. 1: done; 0: there is none, or another's (`*taken`). */
static int adopt(struct kubernetes *k, const char *claim_name, const struct terminal_spec *spec, const json_t *cleaner, struct home *home, bool *taken,
                 struct error *err)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        cleanup_json json_t *claim = NULL;
        int found = look_at(k, claim_name, spec->key, &claim, taken, err);
        if (found <= 0)
            return found;
        if (kube_is_deleting(claim))
            return error_set(err, ERR_UNAVAILABLE, "the home's claim %s is being deleted; once it is gone a new one is made", claim_name);
        int claimed = claim_for(k, spec->key, claim, cleaner, err);
        if (claimed < 0)
            return -1;
        if (claimed) {
            fill_home(home, claim);
            return 1;
        }
    }
    return error_set(err, ERR_UNAVAILABLE, "the home's claim %s changes all the time", claim_name);
}

/* 1: there is one for this key now; 0: the name is another's. */
static int create_or_adopt(struct kubernetes *k, const char *claim_name, const char *name, const struct terminal_spec *spec, const json_t *cleaner,
                           struct home *home, struct error *err)
{
    cleanup_json json_t *body = claim_body(spec, claim_name, name, "per-user", k->settings, cleaner);

    for (int i = 0; i < ATTEMPTS; i++) {
        cleanup_json json_t *made = NULL;
        bool taken = false;
        if (kube_create(k->client, &KUBE_PVCS, k->namespace, body, &made, err) == 0) {
            fill_home(home, made);
            home->created = object_id_of(made);
            return 1;
        }
        if (err->class != ERR_CONFLICT)
            return error_wrap(err, "making the home's claim %s", claim_name);
        int adopted = adopt(k, claim_name, spec, cleaner, home, &taken, err);
        if (adopted != 0 || taken)
            return adopted;
    }
    return error_set(err, ERR_UNAVAILABLE, "the home's claim %s comes and goes", claim_name);
}

/* --- which claim --------------------------------------------------------------------------------------------- */

/* For the second policy with one slug: its own name is taken by the home of the first. */
static char *second_claim_name(const struct terminal_key *key, const char *name)
{
    char hex[65];

    sha256_hex(str_from(key->policy_id), hex);
    return xasprintf("%s-%.6s", name, hex);
}

static int prepare_own(struct kubernetes *k, const struct terminal_spec *spec, const char *name, const json_t *cleaner, struct home *home,
                       struct error *err)
{
    char legacy[TERMINAL_NAME_SIZE];
    bool taken = false;
    int found;

    terminal_legacy_name(spec->key, NAME_PREFIX, legacy);
    found = strcmp(legacy, name) != 0 ? adopt(k, legacy, spec, cleaner, home, &taken, err) : 0;
    if (found == 0)
        found = create_or_adopt(k, name, name, spec, cleaner, home, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    cleanup_free char *second = second_claim_name(spec->key, name);
    found = create_or_adopt(k, second, name, spec, cleaner, home, err);
    if (found == 0)
        return error_set(err, ERR_CONFLICT, "the claims %s and %s are labelled for other terminals; rename or remove one", name, second);
    return found < 0 ? -1 : 0;
}

/* Whoever made it: the name says what it is for. */
static int prepare_shared(struct kubernetes *k, const char *mode, const char *name, struct home *home, struct error *err)
{
    cleanup_free char *claim = shared_claim_name(k);
    cleanup_json json_t *body = claim_body(NULL, claim, name, mode, k->settings, NULL);

    if (kube_create(k->client, &KUBE_PVCS, k->namespace, body, NULL, err) < 0 && err->class != ERR_CONFLICT)
        return error_wrap(err, "making the shared claim %s", claim);
    home->claim = xstrdup(claim);
    home->sub_path = xstrdup(name);
    return 0;
}

int home_claim_prepare(struct kubernetes *k, const struct terminal_spec *spec, const char *name, const json_t *cleaner, struct home *home,
                 struct error *err)
{
    const char *mode = mode_of(k, spec->storage_mode);

    if (!is_shared(mode))
        return prepare_own(k, spec, name, cleaner, home, err);
    cleaner_note(k, name, cleaner);
    return prepare_shared(k, mode, name, home, err);
}

/* --- finding it again ---------------------------------------------------------------------------------------- */

static int find_own(struct kubernetes *k, const struct terminal_key *key, const char *name, struct home *home, struct error *err)
{
    cleanup_free char *second = second_claim_name(key, name);
    char legacy[TERMINAL_NAME_SIZE];
    const char *const candidates[] = { legacy, name, second };

    terminal_legacy_name(key, NAME_PREFIX, legacy);
    for (size_t i = strcmp(legacy, name) == 0 ? 1 : 0; i < COUNT_OF(candidates); i++) {
        cleanup_json json_t *claim = NULL;
        bool taken;
        int found = look_at(k, candidates[i], key, &claim, &taken, err);
        if (found < 0)
            return -1;
        if (found > 0) {
            fill_home(home, claim);
            return 0;
        }
        if (!taken && i == 1)
            break;          /* the second name is used only beside a taken first one */
    }
    return error_set(err, ERR_NOT_FOUND, "there is no claim for the home of %s", name);
}

static int find_shared(struct kubernetes *k, const char *name, struct home *home, struct error *err)
{
    cleanup_free char *claim_name = shared_claim_name(k);
    cleanup_json json_t *claim = NULL;

    if (kube_get(k->client, &KUBE_PVCS, k->namespace, claim_name, &claim, err) < 0)
        return -1;
    fill_home(home, claim);
    home->sub_path = xstrdup(name);
    free(home->cleaner);
    home->cleaner = cleaner_noted(k, name);
    return 0;
}

int home_claim_find(struct kubernetes *k, const struct terminal_key *key, const char *name, bool shared, struct home *home, struct error *err)
{
    return shared ? find_shared(k, name, home, err) : find_own(k, key, name, home, err);
}

bool home_may_be_shared(struct kubernetes *k, const char *name)
{
    return is_shared(mode_of(k, NULL)) || cleaner_is_noted(k, name);
}

void home_claim_undo(struct kubernetes *k, const struct home *home)
{
    struct kube_delete_options options = { .uid = home->created.uid, .resource_version = home->created.version, .grace_s = -1 };
    struct error err;

    if (home->created.uid && kube_delete(k->client, &KUBE_PVCS, k->namespace, home->claim, &options, &err) < 0 && err.class != ERR_NOT_FOUND)
        log_debug("a claim that a failed start made stays", LOG_STR("claim", home->claim), LOG_ERR(&err));
}
