/* Which registry an image comes from, and what a docker client's config.json says about logging in there. Order as docker's own: a helper
 * for this registry (`credHelpers`), the helper for all (`credsStore`), the entry in the file (`auths`). */
#include "backend/docker/registry.h"

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"

#define HUB "docker.io"
#define HUB_SERVER "https://index.docker.io/v1/"
#define CONFIG_MAX (1u << 20)

/* --- references ---------------------------------------------------------------------------------------------- */

int image_reference_split(const char *image, char **repository, char **tag, struct error *err)
{
    const char *digest = strchr(image, '@'), *slash = strrchr(image, '/');
    const char *colon = strrchr(slash ? slash : image, ':');

    if (!*image || image[0] == '-' || strpbrk(image, " \t\r\n?#&%"))
        return error_set(err, ERR_INVALID, "'%s' is no image reference", image);
    if (strncmp(image, "sha256:", 7) == 0)
        return error_set(err, ERR_INVALID, "an image named by its id cannot be pulled");
    if (digest) {
        *repository = xstrndup(image, (size_t)(digest - image));
        *tag = xstrdup(digest + 1);
    } else if (colon) {
        *repository = xstrndup(image, (size_t)(colon - image));
        *tag = xstrdup(colon + 1);
    } else {
        *repository = xstrdup(image);
        *tag = xstrdup("latest");
    }
    return 0;
}

char *image_registry(const char *repository)
{
    struct str first = str_from(repository);
    size_t slash = str_find_char(first, '/');

    if (slash == SIZE_MAX)
        return xstrdup(HUB);
    first.len = slash;
    if (str_equal_text(first, "index.docker.io"))
        return xstrdup(HUB);
    if (str_find_char(first, '.') != SIZE_MAX || str_find_char(first, ':') != SIZE_MAX || str_equal_text(first, "localhost"))
        return str_dup(first);
    return xstrdup(HUB);
}

/* --- base64 -------------------------------------------------------------------------------------------------- */

static char *base64_url_encode(struct str data)
{
    char *out = xmalloc(4 * ((data.len + 2) / 3) + 1);

    (void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)data.data, (int)data.len);
    for (char *c = out; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    return out;
}

/* Also without the padding. NULL when it is no base64. The result is NUL-terminated. */
static char *decode_auth(const char *text)
{
    cleanup_free char *padded = xasprintf("%s%.*s", text, (int)((4 - strlen(text) % 4) % 4), "===");
    size_t len;

    return strlen(padded) > CONFIG_MAX ? NULL : base64_decode(padded, &len);
}

/* --- the header's value -------------------------------------------------------------------------------------- */

static char *encode_auth(const char *user, const char *password, const char *identity_token, const char *server)
{
    cleanup_json json_t *auth = identity_token && *identity_token
        ? json_pack("{s:s, s:s}", "identitytoken", identity_token, "serveraddress", server)
        : json_pack("{s:s, s:s, s:s}", "username", user, "password", password, "serveraddress", server);
    cleanup_secret char *text = auth ? json_write(auth) : NULL;

    return text ? base64_url_encode(str_from(text)) : NULL;
}

static char *auth_from_entry(const json_t *entry, const char *server)
{
    const char *token = json_text(entry, "identitytoken"), *encoded = json_text(entry, "auth");
    const char *user = json_text(entry, "username"), *password = json_text(entry, "password");
    cleanup_secret char *pair = NULL;
    char *colon;

    if (token && *token)
        return encode_auth(NULL, NULL, token, server);
    if (encoded && *encoded && (pair = decode_auth(encoded)) && (colon = strchr(pair, ':'))) {
        *colon = '\0';
        return encode_auth(pair, colon + 1, NULL, server);
    }
    return user && password ? encode_auth(user, password, NULL, server) : NULL;
}

static char *auth_from_helper(const char *helper, const char *server)
{
    struct error err;
    cleanup_json json_t *answer = credential_helper_get(helper, server, &err);
    const char *user = json_text(answer, "Username"), *secret = json_text(answer, "Secret");

    if (!answer) {
        log_warning("a credential helper gave nothing", LOG_STR("helper", helper), LOG_STR("registry", server), LOG_ERR(&err));
        return NULL;
    }
    if (!user || !secret)
        return NULL;
    return strcmp(user, "<token>") == 0 ? encode_auth(NULL, NULL, secret, server) : encode_auth(user, secret, NULL, server);
}

/* Keys of `auths` are host names or URLs: "ghcr.io", "https://ghcr.io/v2/". */
static bool names_registry(const char *key, const char *registry)
{
    struct str host = str_from(key);
    size_t slash;

    if (str_starts_with(host, STR_LITERAL("https://")))
        host = str_skip(host, 8);
    else if (str_starts_with(host, STR_LITERAL("http://")))
        host = str_skip(host, 7);
    slash = str_find_char(host, '/');
    if (slash != SIZE_MAX)
        host.len = slash;
    if (strcmp(registry, HUB) == 0)
        return str_equal_text(host, "index.docker.io") || str_equal_text(host, HUB) || str_equal_text(host, "registry-1.docker.io");
    return str_equal_text(host, registry);
}

char *registry_auth_from(const json_t *config, const char *registry)
{
    const char *server = strcmp(registry, HUB) == 0 ? HUB_SERVER : registry;
    const json_t *helpers = json_object_get(config, "credHelpers");
    const char *helper = json_text(helpers, registry), *store = json_text(config, "credsStore"), *key;
    const json_t *entry;
    char *auth;

    if (!helper)
        helper = json_text(helpers, server);
    if (helper && *helper)
        return auth_from_helper(helper, server);
    if (store && *store && (auth = auth_from_helper(store, server)))
        return auth;
    json_object_foreach((json_t *)json_object_get(config, "auths"), key, entry)
        if (names_registry(key, registry) && (auth = auth_from_entry(entry, server)))
            return auth;
    return NULL;
}

char *registry_auth(const char *registry)
{
    const char *directory = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    cleanup_free char *path = directory && *directory ? xasprintf("%s/config.json", directory)
                                                      : xasprintf("%s/.docker/config.json", home ? home : "/root");
    cleanup_secret char *text = NULL;
    cleanup_json json_t *config = NULL;
    struct error err;
    size_t len;

    if (access(path, F_OK) < 0)
        return NULL;
    if (file_read(path, CONFIG_MAX, &text, &len, &err) < 0 || !(config = json_read(str_of(text, len), &err))) {
        log_warning("registry credentials cannot be read; pulling without", LOG_STR("file", path), LOG_ERR(&err));
        return NULL;
    }
    return registry_auth_from(config, registry);
}
