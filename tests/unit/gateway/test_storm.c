/* Clients and guests that leave at any moment, routes that come and go, two workers: nothing is asserted of single answers but that none is
 * another's; the sanitizers watch the rest, and at the end all counts are back at zero. */
#include "stand_in.h"

#define STORM_MS 3000
#define CLIENTS 12

static _Atomic bool over;
static _Atomic int answered;

static uint32_t dice(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void try_say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Reads a head; false when the peer leaves. */
static bool read_head(int fd, char *text, size_t size)
{
    size_t len = 0;
    while (len < size - 1) {
        ssize_t got = recv(fd, text + len, 1, 0);
        if (got <= 0)
            return false;
        text[++len] = '\0';
        if (len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

/* Answers with the request's own path in many ways, or not at all. */
static void *play_guest(void *argument)
{
    int fd = (int)(intptr_t)argument;
    uint32_t seed = (uint32_t)fd * 2654435761u + 1;
    char head[4000], answer[5000], path[100];

    set_patience(fd);
    while (read_head(fd, head, sizeof(head))) {
        if (sscanf(head, "%*s /%90s", path) != 1)
            break;
        const char *key = strstr(head, "Sec-WebSocket-Key: ");
        if (key && dice(&seed) % 4) {
            char accept[29];
            ws_accept_key(str_of(key + 19, 24), accept);
            (void)snprintf(answer, sizeof(answer), "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
                           "%c%c%c", accept, '\x82', '\x01', 'x');
            try_say(fd, answer);
            (void)!recv(fd, answer, sizeof(answer), 0);
            (void)!recv(fd, answer, sizeof(answer), 0);
            break;
        }
        switch (dice(&seed) % 8) {
        case 0:
            goto end;
        case 1:
            (void)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", strlen(path), path);
            break;
        case 2:
            (void)snprintf(answer, sizeof(answer), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(path), path);
            break;
        case 3:
            (void)snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\n\r\n%s", path);
            try_say(fd, answer);
            goto end;
        case 4:
            try_say(fd, "HTTP/1.1 200 OK\r\nContent-Le");
            usleep(500);
            (void)snprintf(answer, sizeof(answer), "ngth: %zu\r\n\r\n%s", strlen(path), path);
            break;
        case 5:
            try_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nshort");
            goto end;
        default:
            (void)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(path), path);
        }
        try_say(fd, answer);
    }
end:
    (void)close(fd);
    return NULL;
}

static void *accept_guests(void *argument)
{
    while (!over) {
        struct pollfd wait = { .fd = guest_listener, .events = POLLIN };
        if (poll(&wait, 1, 50) != 1)
            continue;
        int fd = accept(guest_listener, NULL, NULL);
        pthread_t thread;
        pthread_create(&thread, NULL, play_guest, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
    return NULL;
}

/* One request; its answer must hold its own path. */
static bool one_request(int fd, int number, uint32_t *seed)
{
    char request[500], head[4000], path[40];
    (void)snprintf(path, sizeof(path), "r-%d-%u", number, dice(seed));
    unsigned kind = dice(seed) % 8;
    if (kind < 4)
        (void)snprintf(request, sizeof(request), "GET /%s HTTP/1.1\r\nHost: x\r\n" ALICE "\r\n", path);
    else if (kind == 4)
        (void)snprintf(request, sizeof(request), "POST /%s HTTP/1.1\r\nHost: x\r\n" ALICE "Content-Length: 0\r\n\r\n", path);
    else if (kind == 5)
        (void)snprintf(request, sizeof(request), "GET /%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer slow-alice\r\nX-User-Id: alice\r\n\r\n", path);
    else if (kind == 6)
        (void)snprintf(request, sizeof(request), "PUT /api/v1/%s HTTP/1.1\r\nHost: x\r\n" KEY "Content-Length: 2\r\n\r\n{}", path);
    else
        (void)snprintf(request, sizeof(request), "GET /api/terminals/%s?user_id=alice HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
    if (dice(seed) % 10 == 0) {
        request[dice(seed) % strlen(request)] = '\0';
        try_say(fd, request);
        return false;
    }
    try_say(fd, request);
    if (dice(seed) % 10 == 0 || !read_head(fd, head, sizeof(head)))
        return false;
    if (kind == 7) {
        cleanup_buf struct buf frame = { 0 };
        (void)ws_append_frame(&frame, WS_TEXT, STR_LITERAL("{\"type\":\"auth\",\"token\":\"key\"}"), (const unsigned char *)"abcd");
        (void)!send(fd, frame.data, frame.len, MSG_NOSIGNAL);
        if (dice(seed) % 2)
            (void)!recv(fd, head, 4, 0);
        return false;
    }
    const char *length = strstr(head, "Content-Length: ");
    bool ours = strncmp(head, "HTTP/1.1 200", 12) == 0;
    size_t want = length ? strtoul(length + 16, NULL, 10) : strstr(head, "chunked") ? strlen(path) + 5 : 0;
    char body[300] = "";
    for (size_t len = 0; len < want && len < sizeof(body) - 1; ) {
        ssize_t got = recv(fd, body + len, want - len, 0);
        if (got <= 0)
            return false;
        len += (size_t)got;
    }
    if (ours && !strstr(body, path) && !strstr(body, "short"))
        fail_msg("the answer to %s is %s", path, body);
    answered++;
    return length != NULL;
}

static void *play_client(void *argument)
{
    int number = (int)(intptr_t)argument;
    uint32_t seed = (uint32_t)number * 40503u + 7;
    while (!over) {
        int fd = client_connect();
        while (!over && one_request(fd, number, &seed))
            continue;
        if (dice(&seed) % 3 == 0)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
        (void)close(fd);
    }
    return NULL;
}

/* Withdraws and publishes, lets some starts wait. */
static void play_fleet(void)
{
    uint32_t seed = 99;
    int64_t end_ms = clock_monotonic_ms() + STORM_MS;
    while (clock_monotonic_ms() < end_ms) {
        struct route *fresh = make_route(guest_listener);
        pthread_mutex_lock(&fleet.lock);
        struct route *former = fleet.route;
        fleet.route = fresh;
        fleet.starts_late = dice(&seed) % 2 && !fleet.starts_late;
        pthread_mutex_unlock(&fleet.lock);
        atomic_store(&former->withdrawn, true);
        route_unref(former);
        for (struct waiter *waiter; (waiter = take_waiter()) != NULL; )
            waiter->post(waiter, route_ref(fresh), NULL);
        usleep(dice(&seed) % 60000);
    }
}

static void everybody_comes_and_goes(void **state)
{
    pthread_t clients[CLIENTS], guests;
    stop_gateway();
    settings.workers = 2;
    settings.read_timeout_s = 2;
    start_gateway();
    over = false;
    pthread_create(&guests, NULL, accept_guests, NULL);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, play_client, (void *)(intptr_t)i);
    play_fleet();
    over = true;
    pthread_mutex_lock(&fleet.lock);
    fleet.starts_late = false;
    pthread_mutex_unlock(&fleet.lock);
    for (struct waiter *waiter; (waiter = take_waiter()) != NULL; )
        waiter->post(waiter, NULL, &(struct error){ .class = ERR_UNAVAILABLE });
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    pthread_join(guests, NULL);
    gateway_drain(gateway, 5000);
    assert_int_equal(atomic_load(&fleet.route->active_requests), 0);
    assert_int_equal(atomic_load(&fleet.route->websockets), 0);
    assert_int_equal(atomic_load(&fleet.route->references), 1);
    assert_true(answered > 20);
    print_message("             %d answers\n", answered);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(everybody_comes_and_goes, set_up, tear_down) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
