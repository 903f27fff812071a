/* Routes: reference counting, and the short memory of which X-Session-Id a guest's terminal sessions were made with.
 *
 * The memory is a ring of at most 64 sessions that is made with the first one, because most terminals never have any. */
#include "fleet/route.h"

#include <pthread.h>

#include "base/secret.h"

enum { MAX_SESSIONS = 64, MAX_SESSION_LENGTH = 256, MAX_SESSION_ID_LENGTH = 1024 };

struct session {
    char *session;
    char *x_session_id;                 /* NULL: made without the header */
};

/* All under `lock`. */
struct session_table {
    pthread_mutex_t lock;
    struct session *ring;               /* MAX_SESSIONS of them, or NULL */
    unsigned next;                      /* where the next one goes: the oldest */
};

struct route *route_new(const struct terminal_key *key, const struct endpoint *endpoint, const char *guest_key,
                        int64_t last_active_ms)
{
    struct route *route = xcalloc(1, sizeof *route);
    atomic_init(&route->references, 1);
    route->key = terminal_key_copy(key);
    route->endpoint = *endpoint;
    route->guest_key = xstrdup(guest_key);
    route->authorization = xasprintf("Bearer %s", guest_key);
    atomic_init(&route->last_active_ms, last_active_ms);
    atomic_init(&route->last_traffic_ms, last_active_ms);
    route->sessions = xcalloc(1, sizeof *route->sessions);
    pthread_mutex_init(&route->sessions->lock, NULL);
    return route;
}

struct route *route_ref(struct route *route)
{
    atomic_fetch_add_explicit(&route->references, 1, memory_order_relaxed);
    return route;
}

static void session_clear(struct session *session)
{
    free(session->session);
    free(session->x_session_id);
    *session = (struct session){ 0 };
}

static void session_table_free(struct session_table *table)
{
    for (size_t i = 0; table->ring && i < MAX_SESSIONS; i++)
        session_clear(&table->ring[i]);
    free(table->ring);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

void route_unref(struct route *route)
{
    if (!route || atomic_fetch_sub_explicit(&route->references, 1, memory_order_acq_rel) > 1)
        return;
    session_table_free(route->sessions);
    terminal_key_free(route->key);
    secret_free(route->guest_key);
    secret_free(route->authorization);
    free(route);
}

static struct session *session_find(struct session_table *table, struct str session)
{
    for (size_t i = 0; table->ring && i < MAX_SESSIONS; i++)
        if (table->ring[i].session && str_equal_text(session, table->ring[i].session))
            return &table->ring[i];
    return NULL;
}

void route_remember_session(struct route *route, struct str session, struct str x_session_id, bool present)
{
    if (session.len == 0 || session.len > MAX_SESSION_LENGTH || x_session_id.len > MAX_SESSION_ID_LENGTH)
        return;
    struct session_table *table = route->sessions;
    pthread_mutex_lock(&table->lock);
    if (!table->ring)
        table->ring = xcalloc(MAX_SESSIONS, sizeof *table->ring);
    struct session *place = session_find(table, session);
    if (!place) {
        place = &table->ring[table->next];
        table->next = (table->next + 1) % MAX_SESSIONS;
    }
    session_clear(place);
    place->session = str_dup(session);
    place->x_session_id = present ? str_dup(x_session_id) : NULL;
    pthread_mutex_unlock(&table->lock);
}

bool route_recall_session(struct route *route, struct str session, char **x_session_id)
{
    struct session_table *table = route->sessions;
    pthread_mutex_lock(&table->lock);
    const struct session *found = session_find(table, session);
    bool known = found && found->x_session_id;
    *x_session_id = known ? xstrdup(found->x_session_id) : NULL;
    pthread_mutex_unlock(&table->lock);
    return known;
}
