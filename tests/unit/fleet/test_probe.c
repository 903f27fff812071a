/* Probes against real sockets: how quickly a guest is found, and what is not taken for one. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/pool.h"
#include "fleet/probe.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t reported;
    unsigned count;
    uint64_t id;
    enum probe_result result;
    int64_t at_us;
} reports = { .lock = PTHREAD_MUTEX_INITIALIZER, .reported = PTHREAD_COND_INITIALIZER };

static void on_report(void *context, uint64_t id, enum probe_result result)
{
    pthread_mutex_lock(&reports.lock);
    reports.count++;
    reports.id = id;
    reports.result = result;
    reports.at_us = clock_monotonic_us();
    pthread_cond_broadcast(&reports.reported);
    pthread_mutex_unlock(&reports.lock);
}

static bool wait_for_reports(unsigned count, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&reports.lock);
    while (reports.count < count && pthread_cond_timedwait(&reports.reported, &reports.lock, &until) == 0)
        continue;
    bool all = reports.count >= count;
    pthread_mutex_unlock(&reports.lock);
    return all;
}

static struct endpoint loopback(unsigned port)
{
    struct endpoint endpoint = { .host = "127.0.0.1", .port = port, .address_len = sizeof(struct sockaddr_in) };
    struct sockaddr_in *address = (struct sockaddr_in *)&endpoint.address;
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return endpoint;
}

/* A bound socket that does not listen yet. */
static int bind_any(unsigned *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct endpoint endpoint = loopback(0);
    socklen_t len = sizeof endpoint.address;
    assert_int_equal(bind(fd, (struct sockaddr *)&endpoint.address, endpoint.address_len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&endpoint.address, &len), 0);
    *port = ntohs(((struct sockaddr_in *)&endpoint.address)->sin_port);
    return fd;
}

struct server {
    int fd;
    const char *answer;         /* NULL: takes the connection and says nothing */
    pthread_t thread;
};

static void *serve(void *argument)
{
    struct server *server = argument;
    for (int client; (client = accept(server->fd, NULL, NULL)) >= 0;) {
        char request[1024];
        if (read(client, request, sizeof request) > 0 && server->answer)
            (void)!write(client, server->answer, strlen(server->answer));
        if (server->answer)
            close(client);
    }
    return NULL;
}

static void server_begin(struct server *server)
{
    assert_int_equal(listen(server->fd, 1024), 0);     /* room for all that ask at once */
    server->thread = thread_start("server", serve, server);
}

static void server_end(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static int begin(void **state)
{
    reports.count = 0;
    *state = prober_new(on_report, NULL);
    return 0;
}

static int end(void **state)
{
    prober_free(*state);
    return 0;
}

static void a_guest_is_found_within_milliseconds_of_listening(void **state)
{
    struct server server = { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };
    unsigned port;
    server.fd = bind_any(&port);
    struct endpoint endpoint = loopback(port);
    uint64_t id = prober_add(*state, &endpoint, 0);
    usleep(60000);
    assert_int_equal(reports.count, 0);
    int64_t listens_us = clock_monotonic_us();
    server_begin(&server);
    assert_true(wait_for_reports(1, 5));
    print_message("  found after %lld µs\n", (long long)(reports.at_us - listens_us));
    assert_true(reports.at_us - listens_us < 200000);        /* generous: the machine may be busy */
    assert_int_equal(reports.result, PROBE_HEALTHY);
    assert_int_equal(reports.id, id);
    server_end(&server);
}

static const struct {
    const char *name, *answer;
    enum probe_result result;
} answers[] = {
    { "another status", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", PROBE_SILENT },
    { "a redirect", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", PROBE_SILENT },
    { "not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", PROBE_SILENT },
    { "a head that breaks the rules", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", PROBE_SILENT },
    { "half a head", "HTTP/1.1 200 OK\r\nContent-Le", PROBE_SILENT },
    { "an interim answer alone", "HTTP/1.1 100 Continue\r\n\r\n", PROBE_SILENT },
};

static void only_a_proper_200_is_ready(void **state)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        print_message("  %s\n", answers[i].name);
        struct server server = { .answer = answers[i].answer };
        unsigned port;
        server.fd = bind_any(&port);
        server_begin(&server);
        struct endpoint endpoint = loopback(port);
        (void)!prober_add(*state, &endpoint, 50);
        assert_true(wait_for_reports((unsigned)i + 1, 10));
        assert_int_equal(reports.result, answers[i].result);
        server_end(&server);
    }
}

static void an_endless_head_is_cut_off(void **state)
{
    cleanup_free char *answer = xmalloc(40000);
    int len = snprintf(answer, 40000, "HTTP/1.1 200 OK\r\nX: ");
    memset(answer + len, 'a', 30000);
    answer[len + 30000] = '\0';
    struct server server = { .answer = answer };
    unsigned port;
    server.fd = bind_any(&port);
    server_begin(&server);
    struct endpoint endpoint = loopback(port);
    (void)!prober_add(*state, &endpoint, 50);
    assert_true(wait_for_reports(1, 10));
    assert_int_equal(reports.result, PROBE_SILENT);
    server_end(&server);
}

static void who_refuses_for_long_enough_is_told_apart(void **state)
{
    unsigned port;
    int fd = bind_any(&port);
    struct endpoint endpoint = loopback(port);
    (void)!prober_add(*state, &endpoint, 100);
    assert_true(wait_for_reports(1, 5));
    assert_int_equal(reports.result, PROBE_REFUSED);
    close(fd);
}

static void a_cancelled_probe_reports_nothing(void **state)
{
    unsigned port;
    int fd = bind_any(&port);
    struct endpoint endpoint = loopback(port);
    uint64_t id = prober_add(*state, &endpoint, 0);
    usleep(20000);
    prober_cancel(*state, id);
    usleep(50000);
    assert_int_equal(listen(fd, 1), 0);
    assert_false(wait_for_reports(1, 1));
    close(fd);
}

static void hundreds_are_asked_at_once(void **state)
{
    struct server server = { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" };
    unsigned port;
    server.fd = bind_any(&port);
    server_begin(&server);
    struct endpoint endpoint = loopback(port);
    for (int i = 0; i < 600; i++)
        (void)!prober_add(*state, &endpoint, 0);
    assert_true(wait_for_reports(600, 30));
    server_end(&server);
}

static void tries_become_rarer(void **state)
{
    assert_int_equal(probe_retry_delay_ms(0), 4);
    assert_int_equal(probe_retry_delay_ms(4999), 4);
    assert_int_equal(probe_retry_delay_ms(5000), 100);
    assert_int_equal(probe_retry_delay_ms(29999), 100);
    assert_int_equal(probe_retry_delay_ms(30000), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_guest_is_found_within_milliseconds_of_listening, begin, end),
        cmocka_unit_test_setup_teardown(only_a_proper_200_is_ready, begin, end),
        cmocka_unit_test_setup_teardown(an_endless_head_is_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(who_refuses_for_long_enough_is_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(a_cancelled_probe_reports_nothing, begin, end),
        cmocka_unit_test_setup_teardown(hundreds_are_asked_at_once, begin, end),
        cmocka_unit_test(tries_become_rarer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
