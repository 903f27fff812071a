/* Image references and the credentials of registries, as docker clients keep them. Any thread; blocking (a credential helper is a program). */
#ifndef BACKEND_DOCKER_REGISTRY_H
#define BACKEND_DOCKER_REGISTRY_H

#include <jansson.h>

#include "base/error.h"

/* "ghcr.io/a/b:1" → repository "ghcr.io/a/b", tag "1"; without a tag "latest"; with a digest the tag is the digest. The caller frees. ERR_INVALID
 * for what cannot be pulled, such as a bare image id. */
int image_reference_split(const char *image, char **repository, char **tag, struct error *err) MUST_CHECK;
/* The registry that the repository is in, "docker.io" where none is named. The caller frees. */
char *image_registry(const char *repository) MUST_CHECK;

/* What `config` (a docker config.json) holds for the registry, as the value of X-Registry-Auth; NULL when there is nothing. The caller wipes
 * and frees. A helper that fails is logged and taken as nothing. */
char *registry_auth_from(const json_t *config, const char *registry) MUST_CHECK;
/* The same from DOCKER_CONFIG/config.json or ~/.docker/config.json, read anew each time, so that a fresh `docker login` counts. */
char *registry_auth(const char *registry) MUST_CHECK;

/* Asks `docker-credential-<helper> get` for the server; NULL when it has none. The caller owns {Username, Secret}. */
json_t *credential_helper_get(const char *helper, const char *server, struct error *err) MUST_CHECK;

#endif
