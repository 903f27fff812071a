/* Where the engine is found: DOCKER_HOST and its companions, as docker clients read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/docker/address.h"
#include "base/str.h"

struct row {
    const char *name;
    struct engine_environment environment;
    const char *socket, *base_url;      /* NULL base_url: refused */
    const char *part;                   /* of the error's text */
    bool tls, insecure, local;
};

static const struct row rows[] = {
    { "nothing set: the default socket", { 0 }, "/var/run/docker.sock", "http://docker", NULL, false, false, true },
    { "empty counts as not set", { .docker_host = "", .tls_verify = "" }, "/var/run/docker.sock", "http://docker", NULL, false, false, true },
    { "a socket", { .docker_host = "unix:///run/x.sock" }, "/run/x.sock", "http://docker", NULL, false, false, true },
    { "TLS says nothing about a socket", { .docker_host = "unix:///run/x.sock", .tls_verify = "1" }, "/run/x.sock", "http://docker", NULL, false, false, true },
    { "a bare path", { .docker_host = "/run/x.sock" }, "/run/x.sock", "http://docker", NULL, false, false, true },
    { "tcp", { .docker_host = "tcp://engine:1234" }, NULL, "http://engine:1234", NULL, false, false, false },
    { "tcp without a port", { .docker_host = "tcp://engine" }, NULL, "http://engine:2375", NULL, false, false, false },
    { "tcp with a slash at its end", { .docker_host = "tcp://engine:1/" }, NULL, "http://engine:1", NULL, false, false, false },
    { "loopback is local", { .docker_host = "tcp://127.0.0.1:2375" }, NULL, "http://127.0.0.1:2375", NULL, false, false, true },
    { "localhost is local", { .docker_host = "tcp://localhost" }, NULL, "http://localhost:2375", NULL, false, false, true },
    { "IPv6", { .docker_host = "tcp://[::1]:9" }, NULL, "http://[::1]:9", NULL, false, false, true },
    { "IPv6 without a port", { .docker_host = "tcp://[fe80::1]" }, NULL, "http://[fe80::1]:2375", NULL, false, false, false },
    { "TLS with verification", { .docker_host = "tcp://engine", .tls_verify = "1", .cert_path = "/c" }, NULL, "https://engine:2376", NULL, true, false, false },
    { "TLS without verification", { .docker_host = "tcp://engine:1", .tls = "1" }, NULL, "https://engine:1", NULL, true, true, false },
    { "https means TLS", { .docker_host = "https://engine" }, NULL, "https://engine:2376", NULL, true, false, false },
    { "http", { .docker_host = "http://engine:1" }, NULL, "http://engine:1", NULL, false, false, false },
    { "ssh is refused with the way round", { .docker_host = "ssh://me@host" }, NULL, NULL, "forward the socket" },
    { "a relative socket", { .docker_host = "unix://x.sock" }, NULL, NULL, "absolute path" },
    { "a named pipe", { .docker_host = "npipe:////./pipe/docker" }, NULL, NULL, "not understood" },
    { "port 0", { .docker_host = "tcp://engine:0" }, NULL, NULL, "tcp://HOST:PORT" },
    { "port too large", { .docker_host = "tcp://engine:65536" }, NULL, NULL, "tcp://HOST:PORT" },
    { "port with letters", { .docker_host = "tcp://engine:1a" }, NULL, NULL, "tcp://HOST:PORT" },
    { "no host", { .docker_host = "tcp://:1" }, NULL, NULL, "tcp://HOST:PORT" },
    { "open bracket", { .docker_host = "tcp://[::1" }, NULL, NULL, "tcp://HOST:PORT" },
    { "a path", { .docker_host = "tcp://engine:1/a" }, NULL, NULL, "tcp://HOST:PORT" },
    { "a user", { .docker_host = "tcp://me@engine:1" }, NULL, NULL, "tcp://HOST:PORT" },
};

static void engine_address_is_found_as_docker_clients_do(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct engine_address address;
        struct error err;
        int result = engine_address_parse(&row->environment, &address, &err);

        print_message("%s\n", row->name);
        assert_int_equal(result, row->base_url ? 0 : -1);
        if (result < 0) {
            assert_int_equal(err.class, ERR_INVALID);
            assert_non_null(strstr(err.text, row->part));
        } else {
            assert_string_equal(address.base_url, row->base_url);
            assert_true(!row->socket == !address.unix_socket);
            if (row->socket)
                assert_string_equal(address.unix_socket, row->socket);
            assert_int_equal(address.tls, row->tls);
            assert_int_equal(address.insecure, row->insecure);
            assert_int_equal(engine_address_is_local(&address), row->local);
        }
        engine_address_clear(&address);
    }
}

static void certificates_are_those_of_docker_cert_path(void **state)
{
    struct engine_environment given = { .docker_host = "tcp://e", .tls_verify = "1", .cert_path = "/certs" };
    struct engine_environment by_default = { .docker_host = "tcp://e", .tls_verify = "1", .home = "/home/me" };
    struct engine_address address;
    struct error err;

    assert_int_equal(engine_address_parse(&given, &address, &err), 0);
    assert_string_equal(address.ca_file, "/certs/ca.pem");
    assert_string_equal(address.cert_file, "/certs/cert.pem");
    assert_string_equal(address.key_file, "/certs/key.pem");
    engine_address_clear(&address);
    assert_int_equal(engine_address_parse(&by_default, &address, &err), 0);
    assert_string_equal(address.ca_file, "/home/me/.docker/ca.pem");
    engine_address_clear(&address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_address_is_found_as_docker_clients_do),
        cmocka_unit_test(certificates_are_those_of_docker_cert_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
