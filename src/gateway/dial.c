#include <errno.h>

#include "gateway/dial.h"
#include "gateway/stream.h"

int dial_start(const struct endpoint *endpoint)
{
    if (endpoint->address_len == 0)
        return -EADDRNOTAVAIL;
    int fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (endpoint->address.ss_family != AF_UNIX)
        stream_set_no_delay(fd);
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->address_len) < 0 && errno != EINPROGRESS) {
        int reason = errno;
        (void)close(fd);
        return -reason;
    }
    return fd;
}

int dial_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return errno;
    return error;
}
