/* One client, one connection, three requests. The address is the one the engine told (no name is looked up), and what comes back is
 * kept only when it is JSON: 200, or for the prompt the 404 of a guest that has none. */
#include "api/document_fetch.h"

#include <netdb.h>
#include <sys/un.h>

#include "api/document_clean.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "http/client.h"

#define MAX_DOCUMENT (4u * 1024 * 1024)
#define FETCH_TIMEOUT_MS 5000

const char *const document_names[DOCUMENT_KIND_COUNT] = {
    [DOCUMENT_OPENAPI] = "openapi", [DOCUMENT_CONFIG] = "config", [DOCUMENT_SYSTEM] = "system",
};

static const char *const paths[DOCUMENT_KIND_COUNT] = {
    [DOCUMENT_OPENAPI] = "/openapi.json", [DOCUMENT_CONFIG] = "/api/config", [DOCUMENT_SYSTEM] = "/system",
};

struct document *document_new(int status, char *body, int64_t fetched_ms)
{
    struct document *document = xcalloc(1, sizeof *document);

    atomic_init(&document->references, 1);
    document->status = status;
    document->content_type = xstrdup("application/json");
    document->body = body;
    document->len = strlen(body);
    document->fetched_ms = fetched_ms;
    return document;
}

void document_unref(struct document *document)
{
    if (!document || atomic_fetch_sub_explicit(&document->references, 1, memory_order_acq_rel) > 1)
        return;
    free(document->content_type);
    free(document->body);
    free(document);
}

/* "http://address:port" of the guest; the caller frees. `unix_socket` is set when it listens on one. */
static char *base_url(const struct endpoint *endpoint, const char **unix_socket, struct error *err)
{
    char host[256], port[16];
    const struct sockaddr *address = (const struct sockaddr *)&endpoint->address;

    *unix_socket = NULL;
    if (endpoint->address.ss_family == AF_UNIX) {
        *unix_socket = ((const struct sockaddr_un *)&endpoint->address)->sun_path;
        return xstrdup("http://guest");
    }
    if (getnameinfo(address, endpoint->address_len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        error_set(err, ERR_UNAVAILABLE, "the guest's address is not known");
        return NULL;
    }
    return xasprintf(endpoint->address.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
}

/* The answer as a document, or NULL. */
static struct document *read_answer(enum document_kind kind, const struct http_answer *answer, struct error *err)
{
    bool none = kind == DOCUMENT_SYSTEM && answer->status == 404;

    if (answer->status != 200 && !none) {
        error_set(err, ERR_UNAVAILABLE, "the guest answered %d to %s", answer->status, paths[kind]);
        return NULL;
    }
    cleanup_json json_t *value = json_read(buf_str(&answer->body), err);
    if (!value || !json_is_object(value)) {
        error_set(err, ERR_UNAVAILABLE, "the guest's answer to %s is not a JSON object", paths[kind]);
        return NULL;
    }
    if (kind == DOCUMENT_OPENAPI)
        openapi_clean(value);
    char *body = json_write(value);
    if (!body) {
        error_set(err, ERR_INTERNAL, "no memory for %s", paths[kind]);
        return NULL;
    }
    return document_new(answer->status, body, clock_monotonic_ms());
}

struct guest {
    struct http_client *client;
    const char *url, *authorization;
    bool (*cancelled)(void *context);
    void *context;
};

static struct document *fetch_one(const struct guest *guest, enum document_kind kind, struct error *err)
{
    cleanup_free char *url = xasprintf("%s%s", guest->url, paths[kind]);
    cleanup_secret char *authorization = xasprintf("Authorization: %s", guest->authorization);
    const char *headers[] = { authorization, "Accept: application/json", NULL };
    cleanup_http_answer struct http_answer answer = { 0 };
    struct http_call call = {
        .method = "GET", .url = url, .headers = headers, .timeout_ms = FETCH_TIMEOUT_MS, .connect_timeout_ms = FETCH_TIMEOUT_MS,
        .max_response = MAX_DOCUMENT, .cancelled = guest->cancelled, .context = guest->context,
    };

    if (http_client_call(guest->client, &call, &answer, err) < 0) {
        error_wrap(err, "reading %s of a guest", paths[kind]);
        return NULL;
    }
    return read_answer(kind, &answer, err);
}

int documents_fetch(const struct route *route, struct document *documents[DOCUMENT_KIND_COUNT], bool (*cancelled)(void *context),
                    void *context, struct error *err)
{
    const char *unix_socket;
    memset(documents, 0, DOCUMENT_KIND_COUNT * sizeof(struct document *));
    cleanup_free char *url = base_url(&route->endpoint, &unix_socket, err);
    if (!url)
        return -1;
    struct http_client_options options = { .unix_socket = unix_socket, .no_proxy_env = true };
    struct guest guest = { http_client_new(&options), url, route->authorization, cancelled, context };
    int result = 0;

    for (int kind = 0; kind < DOCUMENT_KIND_COUNT && result == 0; kind++)
        if (!(documents[kind] = fetch_one(&guest, (enum document_kind)kind, err)))
            result = -1;
    http_client_free(guest.client);
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT && result < 0; kind++)
        document_unref(steal(&documents[kind]));
    return result;
}
