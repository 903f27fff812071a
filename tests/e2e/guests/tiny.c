/* The smallest guest: answers every request with 200 and closes. Linked statically, it is an image of its own. */
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"status\":\"ok\"}";

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(8000) };
    char request[65536];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0)
        return 1;
    for (;;) {
        int peer = accept(listener, NULL, NULL);

        if (peer < 0)
            continue;
        if (read(peer, request, sizeof request) > 0 && write(peer, answer, sizeof answer - 1) < 0)
            request[0] = '\0';
        shutdown(peer, SHUT_WR);
        while (read(peer, request, sizeof request) > 0)
            continue;
        close(peer);
    }
}
