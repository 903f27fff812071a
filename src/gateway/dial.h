/* Where sockets to guests come from. Today each is a connection to the guest's address; guests without a network will
 * hand theirs over another way, and only this file will know. */
#ifndef GATEWAY_DIAL_H
#define GATEWAY_DIAL_H

#include "backend/backend.h"

/* A non-blocking, close-on-exec socket whose connection to `endpoint` is under way: writability tells when it is there, SO_ERROR
 * whether it failed. Negative errno when not even that goes. Never blocks. */
int dial_start(const struct endpoint *endpoint) MUST_CHECK;
/* 0 once the connection of a writable socket is there, else the errno of its failure. */
int dial_result(int fd);

#endif
