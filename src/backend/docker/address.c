/* DOCKER_HOST and its TLS companions. `unix://` and `tcp://` are what an HTTP client can reach by itself; `ssh://` would need a tunnel
 * program and is refused with the way round. */
#include "backend/docker/address.h"

#include "base/str.h"

#define DEFAULT_SOCKET "/var/run/docker.sock"
#define PLAIN_PORT 2375
#define TLS_PORT 2376

static bool is_set(const char *value)
{
    return value && *value;
}

static void use_socket(struct engine_address *address, const char *path)
{
    address->unix_socket = xstrdup(path);
    address->text = xasprintf("unix://%s", path);
    address->base_url = xstrdup("http://docker");
}

static void use_certificates(struct engine_address *address, const struct engine_environment *environment)
{
    cleanup_free char *directory = is_set(environment->cert_path)
        ? xstrdup(environment->cert_path)
        : xasprintf("%s/.docker", is_set(environment->home) ? environment->home : "/root");

    address->ca_file = xasprintf("%s/ca.pem", directory);
    address->cert_file = xasprintf("%s/cert.pem", directory);
    address->key_file = xasprintf("%s/key.pem", directory);
}

/* "host", "host:port", "[v6]", "[v6]:port"; anything behind a '/' is no part of an address. */
static bool split_host_port(struct str text, struct str *host, struct str *port)
{
    size_t end;

    *port = (struct str){ NULL, 0 };
    if (text.len > 0 && text.data[0] == '[') {
        end = str_find_char(text, ']');
        if (end == SIZE_MAX)
            return false;
        *host = str_of(text.data + 1, end - 1);
        text = str_skip(text, end + 1);
        if (text.len > 0 && text.data[0] != ':')
            return false;
        *port = str_skip(text, 1);
        return host->len > 0;
    }
    end = str_find_char(text, ':');
    *host = end == SIZE_MAX ? text : str_of(text.data, end);
    if (end != SIZE_MAX)
        *port = str_skip(text, end + 1);
    return host->len > 0 && str_find_char(*port, ':') == SIZE_MAX;
}

static int use_tcp(struct engine_address *address, struct str text, const char *given, struct error *err)
{
    uint64_t port = address->tls ? TLS_PORT : PLAIN_PORT;
    struct str host, port_text;

    if (str_ends_with(text, STR_LITERAL("/")))
        text.len--;
    if (!split_host_port(text, &host, &port_text) || str_find_char(text, '/') != SIZE_MAX || str_find_char(text, '@') != SIZE_MAX
        || (port_text.len > 0 && (!str_to_u64(port_text, &port) || port == 0 || port > 65535)))
        return error_set(err, ERR_INVALID, "DOCKER_HOST '%s' is not tcp://HOST:PORT", given);
    address->host = str_dup(host);
    address->text = xstrdup(given);
    address->base_url = xasprintf(strchr(address->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", address->tls ? "https" : "http",
                                  address->host, (unsigned)port);
    return 0;
}

static int parse_host(struct engine_address *address, const char *given, struct error *err)
{
    struct str text = str_from(given);

    if (str_starts_with(text, STR_LITERAL("unix://"))) {
        if (given[7] != '/')
            return error_set(err, ERR_INVALID, "DOCKER_HOST '%s' does not name an absolute path: unix:///var/run/docker.sock", given);
        address->tls = false;
        use_socket(address, given + 7);
        return 0;
    }
    if (given[0] == '/') {
        address->tls = false;
        use_socket(address, given);
        return 0;
    }
    if (str_starts_with(text, STR_LITERAL("tcp://")))
        return use_tcp(address, str_skip(text, 6), given, err);
    if (str_starts_with(text, STR_LITERAL("http://")))
        return use_tcp(address, str_skip(text, 7), given, err);
    if (str_starts_with(text, STR_LITERAL("https://"))) {
        address->tls = true;
        return use_tcp(address, str_skip(text, 8), given, err);
    }
    if (str_starts_with(text, STR_LITERAL("ssh://")))
        return error_set(err, ERR_INVALID, "DOCKER_HOST '%s': ssh is not supported; forward the socket "
                         "(ssh -nNT -L /run/remote-docker.sock:/var/run/docker.sock HOST) and give unix:///run/remote-docker.sock", given);
    return error_set(err, ERR_INVALID, "DOCKER_HOST '%s' is not understood: give unix:///PATH or tcp://HOST:PORT", given);
}

int engine_address_parse(const struct engine_environment *environment, struct engine_address *address, struct error *err)
{
    *address = (struct engine_address){ .tls = is_set(environment->tls_verify) || is_set(environment->tls),
                                        .insecure = !is_set(environment->tls_verify) && is_set(environment->tls) };
    if (!is_set(environment->docker_host)) {
        address->tls = false;
        use_socket(address, DEFAULT_SOCKET);
        return 0;
    }
    if (parse_host(address, environment->docker_host, err) < 0)
        return -1;
    if (address->tls)
        use_certificates(address, environment);
    else
        address->insecure = false;
    return 0;
}

void engine_address_clear(struct engine_address *address)
{
    free(address->text);
    free(address->unix_socket);
    free(address->host);
    free(address->base_url);
    free(address->ca_file);
    free(address->cert_file);
    free(address->key_file);
    *address = (struct engine_address){ 0 };
}

bool engine_address_is_local(const struct engine_address *address)
{
    return address->unix_socket || strcmp(address->host, "localhost") == 0 || strcmp(address->host, "::1") == 0
        || strncmp(address->host, "127.", 4) == 0;
}
