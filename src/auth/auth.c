/* Keys, modes and tokens.
 *
 * Of keys only digests are kept, so that comparing takes the same time whatever a key's length, and always goes over all of them.
 * A token that nobody knows is verified once however many callers wait for it: the first makes a `flight`, the others wait for its
 * landing. New settings empty the cache and forget the flights, so that nothing learnt from the old address comes into it. */
#include <pthread.h>

#include "auth/open_webui.h"
#include "auth/token_cache.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/secret.h"

#define TOKEN_MAX_LEN 16384
#define REFUSED_TTL_MS 5000

struct digest {
    unsigned char bytes[TOKEN_DIGEST_LEN];
};

/* One verification under way. All under the auth's lock but the constants. */
struct flight {
    unsigned holders;
    bool landed;
    pthread_cond_t landing;
    enum auth_result result;
    struct identity identity;
    struct error err;
};

struct auth {
    struct http_client *client;         /* its own locking */

    pthread_rwlock_t config_lock;       /* guards the next five */
    enum auth_mode mode;
    struct digest *keys;
    size_t key_count;
    char *url;                          /* NULL: not in JWT mode */
    int64_t ttl_ms;

    pthread_mutex_t lock;               /* guards the rest */
    struct token_cache *cache;
    struct map flights;                 /* struct flight by token digest */
    uint64_t generation;                /* counts configurations */
};

/* --- configuration ------------------------------------------------------------------------------------------- */

static struct digest digest_of(struct str text)
{
    struct digest digest;

    sha256_bytes(text, digest.bytes);
    return digest;
}

static struct str digest_key(const struct digest *digest)
{
    return str_of((const char *)digest->bytes, TOKEN_DIGEST_LEN);
}

/* `may_open`: the explicit word was given, when it counted. */
static enum auth_mode mode_of(const struct settings *settings, bool may_open)
{
    if (settings->open_webui_url)
        return AUTH_OPEN_WEBUI;
    /* Without a key and without the explicit word, nobody passes. */
    return settings->api_keys.count == 0 && may_open ? AUTH_OPEN : AUTH_API_KEY;
}

enum auth_mode auth_mode_at_start(const struct settings *settings)
{
    return mode_of(settings, settings->open);
}

static void configure(struct auth *auth, const struct settings *settings, enum auth_mode mode)
{
    size_t count = settings->api_keys.count;

    free(auth->keys);
    free(auth->url);
    auth->mode = mode;
    auth->keys = xcalloc(count + 1, sizeof(*auth->keys));
    auth->key_count = count;
    for (size_t i = 0; i < count; i++)
        auth->keys[i] = digest_of(str_trim(str_from(settings->api_keys.items[i])));
    auth->url = settings->open_webui_url ? xstrdup(settings->open_webui_url) : NULL;
    auth->ttl_ms = (int64_t)settings->token_cache_ttl_s * 1000;
}

struct auth *auth_new(const struct settings *settings)
{
    struct auth *auth = xcalloc(1, sizeof(*auth));

    auth->client = http_client_new(&(struct http_client_options){ 0 });
    pthread_rwlock_init(&auth->config_lock, NULL);
    pthread_mutex_init(&auth->lock, NULL);
    auth->cache = token_cache_new();
    configure(auth, settings, auth_mode_at_start(settings));
    return auth;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    ASSERT(auth->flights.count == 0);
    http_client_free(auth->client);
    token_cache_free(auth->cache);
    map_free(&auth->flights, NULL);
    pthread_rwlock_destroy(&auth->config_lock);
    pthread_mutex_destroy(&auth->lock);
    free(auth->keys);
    free(auth->url);
    free(auth);
}

/* Under `config_lock`, for writing. */
static void replace_configuration(struct auth *auth, const struct settings *settings, enum auth_mode mode)
{
    configure(auth, settings, mode);
    pthread_mutex_lock(&auth->lock);
    auth->generation++;
    token_cache_clear(auth->cache);
    /* Those who wait hold their flights themselves. */
    map_free(&auth->flights, NULL);
    auth->flights = (struct map){ 0 };
    pthread_mutex_unlock(&auth->lock);
}

int auth_reconfigure(struct auth *auth, const struct settings *settings, struct error *err)
{
    enum auth_mode mode;
    int result = 0;

    pthread_rwlock_wrlock(&auth->config_lock);
    mode = mode_of(settings, auth->mode == AUTH_OPEN);
    if (mode == AUTH_API_KEY && settings->api_keys.count == 0)
        result = error_set(err, ERR_INVALID, "without an API key nobody could get in%s: give TERMINALS_API_KEY, or restart%s",
                           settings->open ? ", and TERMINALS_OPEN needs a restart" : "", settings->open ? "" : ", which makes one");
    else
        replace_configuration(auth, settings, mode);
    pthread_rwlock_unlock(&auth->config_lock);
    return result;
}

enum auth_mode auth_mode(struct auth *auth)
{
    enum auth_mode mode;

    pthread_rwlock_rdlock(&auth->config_lock);
    mode = auth->mode;
    pthread_rwlock_unlock(&auth->config_lock);
    return mode;
}

/* --- checks that never block --------------------------------------------------------------------------------- */

bool auth_bearer_token(struct str authorization, struct str *token)
{
    const size_t scheme_len = sizeof("Bearer") - 1;
    struct str text = str_trim(authorization);

    if (text.len <= scheme_len || !str_equal_nocase(str_of(text.data, scheme_len), STR_LITERAL("Bearer"))
        || (text.data[scheme_len] != ' ' && text.data[scheme_len] != '\t'))
        return false;
    *token = str_trim(str_skip(text, scheme_len));
    return token->len > 0;
}

static enum auth_result deny(struct error *err, const char *text)
{
    error_set(err, ERR_UNAUTHORIZED, "%s", text);
    return AUTH_DENIED;
}

/* Over all keys, whichever fits. Under `config_lock`. */
static bool is_key(const struct auth *auth, const struct digest *digest)
{
    bool found = false;

    for (size_t i = 0; i < auth->key_count; i++)
        found |= secret_equal(digest_key(&auth->keys[i]), digest_key(digest));
    return found;
}

/* What may stand in a header that we send on. */
static bool token_is_sendable(struct str token)
{
    if (token.len == 0 || token.len > TOKEN_MAX_LEN)
        return false;
    for (size_t i = 0; i < token.len; i++)
        if (token.data[i] <= ' ' || token.data[i] >= 0x7f)
            return false;
    return true;
}

static enum auth_result check_cached(struct auth *auth, struct str token, const struct digest *digest,
                                     struct identity *identity, struct error *err)
{
    enum token_cache_answer answer;

    if (!token_is_sendable(token))
        return deny(err, "Invalid token");
    pthread_mutex_lock(&auth->lock);
    answer = token_cache_find(auth->cache, digest->bytes, clock_monotonic_ms(), identity);
    pthread_mutex_unlock(&auth->lock);
    if (answer == TOKEN_REFUSED)
        return deny(err, "Invalid token");
    return answer == TOKEN_ACCEPTED ? AUTH_OK : AUTH_PENDING;
}

enum auth_result auth_check_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
{
    struct str trimmed = str_trim(token);
    struct digest digest = digest_of(trimmed);
    enum auth_mode mode;
    bool trusted;

    pthread_rwlock_rdlock(&auth->config_lock);
    mode = auth->mode;
    trusted = mode == AUTH_OPEN || is_key(auth, &digest);
    pthread_rwlock_unlock(&auth->config_lock);
    *identity = (struct identity){ .trusted = trusted };
    if (trusted)
        return AUTH_OK;
    if (mode == AUTH_API_KEY)
        return deny(err, "Invalid API key");
    return check_cached(auth, trimmed, &digest, identity, err);
}

enum auth_result auth_check_header(struct auth *auth, struct str authorization, bool present, struct identity *identity,
                                   struct error *err)
{
    struct str token;

    if (auth_mode(auth) == AUTH_OPEN) {
        *identity = (struct identity){ .trusted = true };
        return AUTH_OK;
    }
    if (!present || str_trim(authorization).len == 0)
        return deny(err, "Missing Authorization header");
    if (!auth_bearer_token(authorization, &token))
        return deny(err, "Invalid Authorization header");
    return auth_check_token(auth, token, identity, err);
}

enum auth_result auth_check_admin(struct auth *auth, struct str authorization, bool present, struct error *err)
{
    struct str token = { NULL, 0 };
    bool is_bearer = auth_bearer_token(authorization, &token), is_open, has_keys, fits;
    struct digest digest = digest_of(token);

    pthread_rwlock_rdlock(&auth->config_lock);
    is_open = auth->mode == AUTH_OPEN;
    has_keys = auth->key_count > 0;
    fits = is_bearer && is_key(auth, &digest);
    pthread_rwlock_unlock(&auth->config_lock);
    if (is_open || fits)
        return AUTH_OK;
    if (!has_keys)
        return deny(err, "TERMINALS_API_KEY is required for admin APIs");
    if (!present || str_trim(authorization).len == 0)
        return deny(err, "Missing Authorization header");
    return deny(err, is_bearer ? "Invalid admin API key" : "Invalid Authorization header");
}

/* --- verifying ----------------------------------------------------------------------------------------------- */

/* Puts the verdict into the cache, where it is one to keep. Under `lock`. */
static void remember(struct auth *auth, const struct digest *digest, enum token_verdict verdict,
                     const struct token_owner *owner, int64_t ttl_ms)
{
    int64_t now_ms = clock_monotonic_ms();

    if (verdict == TOKEN_REJECTED && ttl_ms > REFUSED_TTL_MS)
        ttl_ms = REFUSED_TTL_MS;
    if (verdict == TOKEN_GENUINE && owner->expires_s > 0) {
        int64_t left_s = owner->expires_s - clock_wall_us() / 1000000;

        if (left_s < ttl_ms / 1000)
            ttl_ms = left_s * 1000;
    }
    if (ttl_ms > 0 && verdict != TOKEN_UNDECIDED)
        token_cache_put(auth->cache, digest->bytes, verdict == TOKEN_GENUINE ? &owner->identity : NULL, now_ms + ttl_ms);
}

/* Under `lock`. */
static void flight_release(struct flight *flight)
{
    if (--flight->holders > 0)
        return;
    pthread_cond_destroy(&flight->landing);
    free(flight);
}

/* Under `lock`. */
static struct flight *flight_begin(struct auth *auth, const struct digest *digest)
{
    struct flight *flight = xcalloc(1, sizeof(*flight));

    flight->holders = 1;
    pthread_cond_init(&flight->landing, NULL);
    (void)map_put(&auth->flights, digest_key(digest), flight);
    return flight;
}

/* The configuration that a verification goes by; `url` is the caller's. */
struct terms {
    char *url;
    int64_t ttl_ms;
    uint64_t generation;
};

/* Makes the call without the lock, and lands the flight. Under `lock` before and after. */
static void flight_run(struct auth *auth, struct flight *flight, struct str token, const struct digest *digest,
                       const struct terms *terms)
{
    struct token_owner owner;
    enum token_verdict verdict;

    pthread_mutex_unlock(&auth->lock);
    verdict = open_webui_verify(auth->client, terms->url, token, &owner, &flight->err);
    pthread_mutex_lock(&auth->lock);
    flight->result = verdict == TOKEN_GENUINE ? AUTH_OK : AUTH_DENIED;
    flight->identity = owner.identity;
    flight->landed = true;
    pthread_cond_broadcast(&flight->landing);
    if (auth->generation != terms->generation)
        return;
    remember(auth, digest, verdict, &owner, terms->ttl_ms);
    (void)map_remove(&auth->flights, digest_key(digest));
}

/* Joins the flight of this token, or makes one. AUTH_PENDING: the settings changed meanwhile. */
static enum auth_result fly(struct auth *auth, struct str token, const struct digest *digest, const struct terms *terms,
                            struct identity *identity, struct error *err)
{
    enum auth_result result = AUTH_PENDING;
    struct flight *flight;

    pthread_mutex_lock(&auth->lock);
    if (auth->generation == terms->generation) {
        flight = map_get(&auth->flights, digest_key(digest));
        if (flight) {
            flight->holders++;
            while (!flight->landed)
                pthread_cond_wait(&flight->landing, &auth->lock);
        } else {
            flight = flight_begin(auth, digest);
            flight_run(auth, flight, token, digest, terms);
        }
        result = flight->result;
        if (result == AUTH_OK)
            *identity = flight->identity;
        else if (err)
            *err = flight->err;
        flight_release(flight);
    }
    pthread_mutex_unlock(&auth->lock);
    return result;
}

static struct terms terms_now(struct auth *auth)
{
    struct terms terms;

    /* The generation is written under both locks, so that it may be read under either. */
    pthread_rwlock_rdlock(&auth->config_lock);
    terms = (struct terms){ auth->url ? xstrdup(auth->url) : NULL, auth->ttl_ms, auth->generation };
    pthread_rwlock_unlock(&auth->config_lock);
    return terms;
}

enum auth_result auth_verify_token(struct auth *auth, struct str token, struct identity *identity, struct error *err)
{
    struct str trimmed = str_trim(token);
    struct digest digest = digest_of(trimmed);
    enum auth_result result;

    do {
        struct terms terms = terms_now(auth);

        /* Settings may have changed, or another caller may have learnt it, since this one was told to ask. */
        result = auth_check_token(auth, trimmed, identity, err);
        if (result == AUTH_PENDING && terms.url)
            result = fly(auth, trimmed, &digest, &terms, identity, err);
        free(terms.url);
    } while (result == AUTH_PENDING);
    return result;
}
