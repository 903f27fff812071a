/* Listening sockets: one per worker on the same address, so that the kernel spreads connections. Main thread. */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include "base/error.h"

/* Fills `fds` with `count` non-blocking listening sockets and `*port` with the port (also for port 0). ERR_CONFLICT when the port is taken;
 * the text says what to do. Nothing stays open on failure. */
int listener_open(const char *host, unsigned port, int *fds, unsigned count, unsigned *bound_port, struct error *err) MUST_CHECK;

#endif
