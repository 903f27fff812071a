/* The objects that a Terminal resource is made into, and their names. Pure functions; the caller owns what it gets. */
#ifndef OPERATOR_CHILD_H
#define OPERATOR_CHILD_H

#include <jansson.h>

#include "operator/record.h"
#include "settings/settings.h"

/* Everything that the builders need of one resource; borrowed. */
struct origin {
    const char *namespace, *name, *uid;
    const char *api_version;            /* "openwebui.com/v1alpha1" */
    const json_t *spec;
    const char *spec_hash, *key_hash;
    const struct settings *settings;
    bool group_is_given;                /* the platform gives restricted pods their group, and refuses another */
};

enum child_kind { CHILD_SECRET, CHILD_SERVICE, CHILD_PVC, CHILD_POD, CHILD_RESET_POD };

/* "<cr>-apikey", "<cr>-svc" (shortened with a hash where that is no name of a Service), "<cr>-pvc", "<cr>-pod", "<cr>-reset". */
char *child_name(enum child_kind kind, const char *terminal) MUST_CHECK;
/* The name of the resource that an object with our label belongs to: its annotation, else what its name says. NULL: neither. */
char *child_terminal(const json_t *object) MUST_CHECK;
/* Whether an object that is there under a name of ours may be this user's: it has a mark of ours, since a name alone says nothing ("postgres-pvc" may be a
 * database's), and its annotation, else its label, as on the original's, names the user. `user` may be NULL: then false. */
bool child_is_of_user(const json_t *object, const char *user) MUST_CHECK;
/* The claim of the home: that of the resource, or the shared one. */
char *child_claim_name(const struct origin *origin) MUST_CHECK;

json_t *child_secret(const struct origin *origin) MUST_CHECK;
json_t *child_service(const struct origin *origin) MUST_CHECK;
json_t *child_pvc(const struct origin *origin) MUST_CHECK;
json_t *child_shared_pvc(const struct origin *origin) MUST_CHECK;
/* ERR_IMAGE_NOT_ALLOWED, ERR_INVALID. */
json_t *child_pod(const struct origin *origin, struct error *err) MUST_CHECK;
/* A pod that empties the home with the terminal's own image, place and rights, and ends. ERR_IMAGE_NOT_ALLOWED. */
json_t *child_reset_pod(const struct origin *origin, struct error *err) MUST_CHECK;
/* Labels and annotations that every object of the resource has; for repairs too. {"labels":…,"annotations":…} */
json_t *child_marks(const struct origin *origin) MUST_CHECK;
/* The ownerReferences of what goes when the resource goes. */
json_t *child_owners(const struct origin *origin) MUST_CHECK;

/* Whether the Service leads to the guest of this resource, and is of this type. */
bool child_service_is_right(const char *terminal, const char *type, const json_t *service);
/* Makes it so in the object that was read; what the API server gave it, as its address, stays where the type has it. */
void child_repair_service(json_t *service, const char *terminal, const char *type);

/* Reads a pod's status into `pod`: ended, ready, started, failure, message (guest_state.c). */
void guest_state_read(struct pod *pod, const json_t *status);

#endif
