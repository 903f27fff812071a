/* The health endpoints: what they answer, and that nobody can keep a probe from its answer. Over the loopback interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "operator/internal.h"

enum { STRANGERS = 200 };

static struct operator operator;
static struct web *web;
static unsigned port;

static struct sockaddr_in address_of(unsigned number)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static unsigned find_port(void)
{
    struct sockaddr_in address = address_of(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (void *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (void *)&address, &len), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static int begin(void **state)
{
    struct error err;
    port = find_port();
    web = web_start(&operator, "127.0.0.1", port, &err);
    return web ? 0 : -1;
}

static int end(void **state)
{
    web_stop(web);
    clock_fake_set(-1, -1);
    return 0;
}

static int dial(void)
{
    const struct timeval patience = { .tv_sec = 60 };
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (void *)&address, sizeof address), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const char *text) { assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text)); }

/* To the end of the stream. The caller frees. */
static char *hear(int fd)
{
    struct buf heard = { 0 };
    char piece[4096];
    ssize_t got;
    while ((got = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_append(&heard, piece, (size_t)got);
    (void)close(fd);
    char *text = xstrndup(heard.data ? heard.data : "", heard.len);
    buf_free(&heard);
    return text;
}

static char *ask(const char *request)
{
    int fd = dial();
    say(fd, request);
    return hear(fd);
}

static void requests_are_answered(void **state)
{
    static const struct { const char *name, *request, *start, *end; } cases[] = {
        { "health", "GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n" },
        { "with a query and fields", "GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n" },
        { "not yet ready", "GET /readyz HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "the first listings are not complete\n" },
        { "no body for HEAD", "HEAD /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 3\r\nConnection: close\r\n\r\n" },
        { "another path", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "there are /healthz, /readyz and /metrics\n" },
        { "another method", "POST /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "\r\n\r\n" },
        { "no request", "x\r\n\r\n", "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_free char *heard = ask(cases[i].request);
        if (!str_starts_with(str_from(heard), str_from(cases[i].start)) || !str_ends_with(str_from(heard), str_from(cases[i].end)) ||
            (!*cases[i].start && *heard))
            fail_msg("%s: %s", cases[i].name, heard);
    }
}

static void a_head_may_come_in_pieces(void **state)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = dial();
    for (const char *c = request; *c; c++) {
        const char piece[] = { *c, 0 };
        say(fd, piece);
    }
    cleanup_free char *heard = hear(fd);
    assert_true(str_starts_with(str_from(heard), STR_LITERAL("HTTP/1.1 200 OK\r\n")));
}

static void a_head_without_an_end_is_cut_off(void **state)
{
    int fd = dial();
    char filler[4096];
    memset(filler, 'x', sizeof filler);
    assert_int_equal(send(fd, filler, sizeof filler, MSG_NOSIGNAL), sizeof filler);
    cleanup_free char *heard = hear(fd);
    assert_string_equal(heard, "");
}

static void idle_connections_keep_no_probe_waiting(void **state)
{
    int strangers[STRANGERS];
    clock_fake_set(1000000, -1);        /* no time limit ends any of them */
    for (size_t i = 0; i < STRANGERS; i++) {
        strangers[i] = dial();
        say(strangers[i], "G");
    }
    cleanup_free char *heard = ask("GET /healthz HTTP/1.1\r\n\r\n");
    assert_true(str_starts_with(str_from(heard), STR_LITERAL("HTTP/1.1 200 OK\r\n")));
    for (size_t i = 0; i < STRANGERS; i++)
        (void)close(strangers[i]);
}

static void a_reader_that_does_not_read_keeps_no_probe_waiting(void **state)
{
    enum { LABELS = 400, LABEL_SIZE = 60000 };
    cleanup_free char *long_text = xcalloc(1, LABEL_SIZE + 1);
    memset(long_text, 'x', LABEL_SIZE);
    for (unsigned i = 0; i < LABELS; i++) {
        cleanup_free char *labels = xasprintf("n=\"%u%s\"", i, long_text);
        assert_non_null(metric_gauge("test_of_great_length", "Fills more than a socket takes.", labels));
    }
    clock_fake_set(1000000, -1);
    int reader = dial();
    say(reader, "GET /metrics HTTP/1.1\r\n\r\n");
    cleanup_free char *heard = ask("GET /healthz HTTP/1.1\r\n\r\n");
    assert_true(str_starts_with(str_from(heard), STR_LITERAL("HTTP/1.1 200 OK\r\n")));
    cleanup_free char *all = hear(reader);
    assert_in_range(strlen(all), (size_t)LABELS * LABEL_SIZE, (size_t)LABELS * LABEL_SIZE + 1000000);
}

static void the_time_limit_is_for_the_whole_connection(void **state)
{
    int64_t began_us = clock_monotonic_us();
    clock_fake_set(began_us, -1);
    int fd = dial();
    say(fd, "GET ");
    cleanup_free char *heard = ask("GET /healthz HTTP/1.1\r\n\r\n");        /* it has been taken by now */
    for (int s = 1; s < 5; s++) {
        clock_fake_set(began_us + s * 1000000, -1);
        say(fd, "/");
    }
    clock_fake_set(began_us + 5000000, -1);
    cleanup_free char *nothing = hear(fd);
    assert_string_equal(nothing, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_are_answered, begin, end),
        cmocka_unit_test_setup_teardown(a_head_may_come_in_pieces, begin, end),
        cmocka_unit_test_setup_teardown(a_head_without_an_end_is_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(idle_connections_keep_no_probe_waiting, begin, end),
        cmocka_unit_test_setup_teardown(the_time_limit_is_for_the_whole_connection, begin, end),
        cmocka_unit_test_setup_teardown(a_reader_that_does_not_read_keeps_no_probe_waiting, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
