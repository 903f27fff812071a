/* SO_REUSEPORT would let a second instance share our port unnoticed, so the port is tried without it first. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "gateway/listener.h"

#define BACKLOG 4096

static int bind_error(const char *host, unsigned port, int number, struct error *err)
{
    switch (number) {
    case EADDRINUSE:
        return error_set(err, ERR_CONFLICT, "port %u on %s is taken by another program: stop it (`ss -ltnp 'sport = :%u'` shows it), or "
                         "choose another port with --port or TERMINALS_PORT", port, host, port);
    case EACCES:
        return error_set(err, ERR_FORBIDDEN, "not allowed to listen on port %u of %s: ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                         "choose another with --port or TERMINALS_PORT", port, host);
    case EADDRNOTAVAIL:
        return error_set(err, ERR_INVALID, "%s is not an address of this machine: set --host or TERMINALS_HOST to one that is, "
                         "such as 127.0.0.1 or 0.0.0.0", host);
    default:
        return error_set_errno(err, ERR_IO, number, "listening on %s port %u", host, port);
    }
}

/* A bound socket, or a negative errno. */
static int bind_socket(const struct addrinfo *address, bool shared)
{
    int on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (shared)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (address->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    int number = errno;
    (void)close(fd);
    return -number;
}

static void set_port(struct addrinfo *address, unsigned port)
{
    if (address->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address->ai_addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)address->ai_addr)->sin_port = htons((uint16_t)port);
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

static struct addrinfo *resolve(const char *host, unsigned port, struct error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char service[16];

    (void)snprintf(service, sizeof(service), "%u", port);
    int result = getaddrinfo(host, service, &hints, &found);
    if (result == 0)
        return found;
    error_set(err, ERR_INVALID, "cannot find the address of host '%s': %s; set --host or TERMINALS_HOST to an address of this machine",
              host, gai_strerror(result));
    return NULL;
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)close(fds[i]);
}

int listener_open(const char *host, unsigned port, int *fds, unsigned count, unsigned *bound_port, struct error *err)
{
    struct addrinfo *address = resolve(host, port, err);
    if (!address)
        return -1;
    int probe = bind_socket(address, false);
    if (probe < 0) {
        freeaddrinfo(address);
        return bind_error(host, port, -probe, err);
    }
    *bound_port = port_of(probe);
    (void)close(probe);
    set_port(address, *bound_port);
    unsigned open = 0;
    int number = 0;
    while (open < count && number == 0) {
        int fd = bind_socket(address, true);
        if (fd < 0) {
            number = -fd;
            break;
        }
        fds[open++] = fd;
        if (listen(fd, BACKLOG) < 0)
            number = errno;
    }
    freeaddrinfo(address);
    if (number == 0)
        return 0;
    close_all(fds, open);
    return bind_error(host, *bound_port, number, err);
}
