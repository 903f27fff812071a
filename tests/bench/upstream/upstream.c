/* The fastest guest there is: answers 200 to every request on port 8000, so that what the benchmark measures is the proxy in front of it.
 *
 * One thread, one epoll. A request is everything up to an empty line; requests with bodies are not sent here. Built static, alone in its image. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 8000
#define INPUT_SIZE 16384

struct connection {
    int fd;
    size_t have;
    char input[INPUT_SIZE];
};

#define BODY "{\"status\":\"ok\",\"entries\":[{\"name\":\"notes.txt\",\"type\":\"file\",\"size\":1234},{\"name\":\"src\",\"type\":\"directory\"}]}"
_Static_assert(sizeof(BODY) - 1 == 108, "Content-Length below");

static const char answer[] =
    "HTTP/1.1 200 OK\r\n"
    "date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    "server: upstream\r\n"
    "content-type: application/json\r\n"
    "content-length: 108\r\n"
    "\r\n" BODY;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void add(int epoll, int fd, void *pointer)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = pointer };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0)
        fail("listen");
    return fd;
}

static void accept_all(int epoll, int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = malloc(sizeof(*connection));
        if (!connection)
            fail("malloc");
        connection->fd = fd;
        connection->have = 0;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        add(epoll, fd, connection);
    }
}

/* Answers every request that is complete; false ends the connection. */
static bool answer_all(struct connection *connection)
{
    char *end;

    while ((end = memmem(connection->input, connection->have, "\r\n\r\n", 4))) {
        size_t used = (size_t)(end + 4 - connection->input);
        if (send(connection->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(answer) - 1)
            return false;
        connection->have -= used;
        memmove(connection->input, connection->input + used, connection->have);
    }
    return connection->have < sizeof(connection->input);
}

static bool serve(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->input + connection->have, sizeof(connection->input) - connection->have, 0);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    connection->have += (size_t)got;
    return answer_all(connection);
}

int main(void)
{
    struct epoll_event events[256];
    int listener = listen_on(PORT), epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0)
        fail("epoll_create1");
    add(epoll, listener, NULL);
    while (true) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection) {
                accept_all(epoll, listener);
            } else if (!serve(connection)) {
                close(connection->fd);
                free(connection);
            }
        }
    }
}
