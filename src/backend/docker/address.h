/* Where the Docker Engine is, as docker clients find it: DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH. Pure, any thread. */
#ifndef BACKEND_DOCKER_ADDRESS_H
#define BACKEND_DOCKER_ADDRESS_H

#include "base/error.h"

/* The variables as the environment has them; NULL or "" = not set. */
struct engine_environment {
    const char *docker_host, *tls_verify, *tls, *cert_path;
    const char *home;                   /* for the default of DOCKER_CERT_PATH */
};

struct engine_address {
    char *text;                         /* for people: "unix:///var/run/docker.sock" */
    char *unix_socket;                  /* NULL: TCP */
    char *host;                         /* TCP: name or IP without brackets */
    char *base_url;                     /* what paths are appended to */
    bool tls, insecure;
    char *ca_file, *cert_file, *key_file;               /* with TLS */
};

/* ERR_INVALID with what is allowed. On success the caller clears. */
int engine_address_parse(const struct engine_environment *environment, struct engine_address *address, struct error *err) MUST_CHECK;
void engine_address_clear(struct engine_address *address);
/* Whether the engine is on this machine as far as the address tells: a Unix socket or a loopback address. */
bool engine_address_is_local(const struct engine_address *address);

#endif
