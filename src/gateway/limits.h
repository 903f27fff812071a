/* How many connections, and how many sockets that have not said yet who they are. Any thread. */
#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H

#include <sys/socket.h>

#include "settings/settings.h"

struct limits;

/* Raises the soft limit of open files to the hard one. */
struct limits *limits_new(const struct settings *settings) MUST_CHECK;
void limits_free(struct limits *limits);
void limits_reconfigure(struct limits *limits, const struct settings *settings);
/* Counts a client connection in; false: there are too many, and it was not counted. */
bool limits_enter_connection(struct limits *limits) MUST_CHECK;
void limits_leave_connection(struct limits *limits);
unsigned limits_connections(const struct limits *limits);

/* The part of an address that counts: IPv4 whole, the first 64 bits of IPv6. */
struct limit_address {
    unsigned char bytes[9];
};
void limit_address_of(const struct sockaddr_storage *address, struct limit_address *out);
/* Counts a socket without authentication in; false: too many in all or from there. */
bool limits_enter_socket(struct limits *limits, const struct limit_address *address) MUST_CHECK;
void limits_leave_socket(struct limits *limits, const struct limit_address *address);

#endif
