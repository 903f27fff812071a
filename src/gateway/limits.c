/* Connections are one atomic counter; unauthenticated sockets are rare and short-lived, so a map under a lock will do. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/map.h"
#include "gateway/limits.h"

struct limits {
    _Atomic unsigned connections, max_connections;
    pthread_mutex_t lock;                   /* guards all below */
    unsigned sockets, max_sockets, max_sockets_per_address;
    struct map by_address;                  /* counts as pointers, never 0 */
};

/* Each proxied client has two descriptors; some are for everything else. */
static unsigned connections_of_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 500;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur > 4000000)
        return 2000000;
    return limit.rlim_cur < 300 ? 100 : (unsigned)(limit.rlim_cur - 100) / 2;
}

void limits_reconfigure(struct limits *limits, const struct settings *settings)
{
    unsigned possible = connections_of_descriptors();
    unsigned wanted = settings->max_connections;
    atomic_store(&limits->max_connections, wanted == 0 || wanted > possible ? possible : wanted);
    pthread_mutex_lock(&limits->lock);
    limits->max_sockets = settings->max_unauthenticated_websockets;
    limits->max_sockets_per_address = settings->max_unauthenticated_websockets_per_address;
    pthread_mutex_unlock(&limits->lock);
}

struct limits *limits_new(const struct settings *settings)
{
    struct limits *limits = xcalloc(1, sizeof(*limits));
    pthread_mutex_init(&limits->lock, NULL);
    limits_reconfigure(limits, settings);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    map_free(&limits->by_address, NULL);
    pthread_mutex_destroy(&limits->lock);
    free(limits);
}

bool limits_enter_connection(struct limits *limits)
{
    if (atomic_fetch_add(&limits->connections, 1) < atomic_load(&limits->max_connections))
        return true;
    limits_leave_connection(limits);
    return false;
}

void limits_leave_connection(struct limits *limits)
{
    atomic_fetch_sub(&limits->connections, 1);
}

unsigned limits_connections(const struct limits *limits)
{
    return atomic_load(&limits->connections);
}

void limit_address_of(const struct sockaddr_storage *address, struct limit_address *out)
{
    *out = (struct limit_address){ 0 };
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        out->bytes[0] = 4;
        memcpy(out->bytes + 1, &in->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        out->bytes[0] = mapped ? 4 : 6;
        memcpy(out->bytes + 1, (const char *)&in6->sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    }
}

static struct str address_key(const struct limit_address *address)
{
    return str_of((const char *)address->bytes, sizeof(address->bytes));
}

bool limits_enter_socket(struct limits *limits, const struct limit_address *address)
{
    pthread_mutex_lock(&limits->lock);
    uintptr_t here = (uintptr_t)map_get(&limits->by_address, address_key(address));
    bool allowed = (limits->max_sockets == 0 || limits->sockets < limits->max_sockets) &&
                   (limits->max_sockets_per_address == 0 || here < limits->max_sockets_per_address);
    if (allowed) {
        limits->sockets++;
        (void)map_put(&limits->by_address, address_key(address), (void *)(here + 1));
    }
    pthread_mutex_unlock(&limits->lock);
    return allowed;
}

void limits_leave_socket(struct limits *limits, const struct limit_address *address)
{
    pthread_mutex_lock(&limits->lock);
    uintptr_t here = (uintptr_t)map_get(&limits->by_address, address_key(address));
    limits->sockets--;
    if (here <= 1)
        (void)map_remove(&limits->by_address, address_key(address));
    else
        (void)map_put(&limits->by_address, address_key(address), (void *)(here - 1));
    pthread_mutex_unlock(&limits->lock);
}
