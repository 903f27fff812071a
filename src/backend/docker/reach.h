/* How guests are reached from where this program runs, found out by asking the engine and looking at our own network interfaces:
 *
 * - REACH_DIRECT: the guests' bridge is an interface of ours (a Linux host, or a container with host networking): dial the guest's address.
 * - REACH_JOINED: we are a container of this engine on other networks. We join the managed network, and guests publish their port on that bridge's
 *   own address (never on 0.0.0.0). The bridge keeps containers apart, us included; its address on the host answers to both sides, whatever other
 *   networks we are on, and stays the same when we are replaced, so that running guests are found again.
 * - REACH_PUBLISHED: the engine is elsewhere (remote, rootless, in a virtual machine): guests publish their port on the one address that
 *   TERMINALS_DOCKER_HOST names.
 *
 * Networks that an administrator names are used as they are: a guest is dialled at its address there. */
#ifndef BACKEND_DOCKER_REACH_H
#define BACKEND_DOCKER_REACH_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/docker/engine.h"
#include "settings/settings.h"

#define MANAGED_NETWORK "terminals"

enum reach_mode { REACH_DIRECT, REACH_JOINED, REACH_PUBLISHED };

/* Immutable and counted. */
struct reach {
    _Atomic unsigned references;
    enum reach_mode mode;
    char *publish_ip;                   /* where guests publish their port; NULL: REACH_DIRECT */
    char *self_id;                      /* our own container; NULL: we are in none of this engine's */
    json_t *self_mounts;                /* its Mounts, or NULL */
    json_t *near_networks;              /* object whose keys are networks on which we reach guests at their own address */
    unsigned cpu_count;                 /* of the engine's host; 0: not known */
    char *log_driver;
};

/* Asks the engine, makes and joins the managed network where it is used. NULL on failure. */
struct reach *reach_find(struct engine *engine, const struct settings *settings, struct error *err) MUST_CHECK;
struct reach *reach_ref(struct reach *reach);
void reach_unref(struct reach *reach);
static inline void cleanup_reach_pointer(struct reach **place) { reach_unref(*place); }
#define cleanup_reach __attribute__((cleanup(cleanup_reach_pointer)))
const char *reach_mode_name(enum reach_mode mode);

/* The network for a new guest of this key. Borrowed from the settings or a literal. */
const char *reach_network_for(const struct settings *settings, const struct terminal_key *key);
/* Index of the key's shard: SHA-256("policy:user:context") as a number, modulo `count`. */
size_t network_shard(const struct terminal_key *key, size_t count);
/* Whether a guest on this network has to publish its port for us. */
bool reach_needs_port(const struct reach *reach, const char *network);
/* Where we dial a guest; false when there is no way. `inspection` is what the engine says of the container. */
bool reach_endpoint(const struct reach *reach, const json_t *inspection, struct endpoint *endpoint);

/* --- network.c ------------------------------------------------------------------------------------------------ */

/* What we need to know of a network. */
struct network_facts {
    char *id, *gateway, *bridge;        /* gateway and bridge (an interface) may be NULL */
    bool managed;                       /* carries our label */
};
void network_facts_clear(struct network_facts *facts);
int network_inspect(struct engine *engine, const char *name, struct network_facts *facts, struct error *err) MUST_CHECK;
/* The managed network, made if it is missing; safe when several of us do it at once. */
int network_ensure_managed(struct engine *engine, struct network_facts *facts, struct error *err) MUST_CHECK;
/* Success when the container is there already. */
int network_join(struct engine *engine, const char *network_id, const char *container_id, struct error *err) MUST_CHECK;

/* --- self.c --------------------------------------------------------------------------------------------------- */

struct self_sources {
    const char *mountinfo, *cgroup, *hostname;          /* texts, or NULL */
};
/* Ids that we may have as a container, most certain first; gives how many. Pure. */
size_t self_candidates(const struct self_sources *sources, char ids[static 3][65]);
/* The engine's inspection of the container that we are, or NULL when we are none of its. */
json_t *self_inspect(struct engine *engine) MUST_CHECK;
/* Whether this network interface is in our own network namespace and has the address. */
bool interface_is_ours(const char *interface, const char *address);

#endif
