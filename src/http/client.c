/* libcurl easy handles, kept between calls so that their connections are used again.
 *
 * A call takes a handle out of the client's small pool (the one used last, whose connection is most likely still open), runs it to its end on the
 * caller's thread, and puts it back. Handles are never shared between threads, so that libcurl needs no locks of ours. */
#include "http/client_parts.h"

#include <pthread.h>
#include <signal.h>

#include "base/clock.h"

#define MAX_IDLE_HANDLES 8
#define MAX_REDIRECTS 5
#define DEFAULT_CONNECT_TIMEOUT_MS 10000
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define DEFAULT_MAX_RESPONSE (16u << 20)

struct http_client {
    char *unix_socket, *ca_file, *cert_file, *key_file;         /* immutable */
    char *ca_pem, *server_name, *proxy;                         /* immutable */
    bool insecure, no_proxy_env, follow_redirects;              /* immutable */
    pthread_mutex_t lock;
    CURL *idle[MAX_IDLE_HANDLES];       /* under `lock` */
    size_t idle_count;                  /* under `lock` */
};

void http_client_global_init(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);

    ASSERT(code == CURLE_OK);
    /* OpenSSL writes to sockets without MSG_NOSIGNAL. */
    (void)signal(SIGPIPE, SIG_IGN);
}

static char *copy_or_null(const char *text) { return text ? xstrdup(text) : NULL; }

struct http_client *http_client_new(const struct http_client_options *options)
{
    struct http_client *client = xcalloc(1, sizeof(*client));

    client->unix_socket = copy_or_null(options->unix_socket);
    client->ca_file = copy_or_null(options->ca_file);
    client->cert_file = copy_or_null(options->cert_file);
    client->key_file = copy_or_null(options->key_file);
    client->ca_pem = copy_or_null(options->ca_pem);
    client->server_name = copy_or_null(options->server_name);
    client->proxy = copy_or_null(options->proxy);
    client->insecure = options->insecure;
    client->no_proxy_env = options->no_proxy_env;
    client->follow_redirects = options->follow_redirects;
    pthread_mutex_init(&client->lock, NULL);
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    for (size_t i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    pthread_mutex_destroy(&client->lock);
    free(client->unix_socket);
    free(client->ca_file);
    free(client->cert_file);
    free(client->key_file);
    free(client->ca_pem);
    free(client->server_name);
    free(client->proxy);
    free(client);
}

static CURL *take_handle(struct http_client *client)
{
    CURL *handle = NULL;

    pthread_mutex_lock(&client->lock);
    if (client->idle_count > 0)
        handle = client->idle[--client->idle_count];
    pthread_mutex_unlock(&client->lock);
    if (!handle)
        handle = curl_easy_init();
    ASSERT(handle);
    return handle;
}

/* A reset forgets options, not connections. */
static void give_back_handle(struct http_client *client, CURL *handle)
{
    curl_easy_reset(handle);
    pthread_mutex_lock(&client->lock);
    if (client->idle_count < MAX_IDLE_HANDLES)
        client->idle[client->idle_count++] = steal(&handle);
    pthread_mutex_unlock(&client->lock);
    if (handle)
        curl_easy_cleanup(handle);
}

static long status_of(const struct call_state *state)
{
    long status = 0;

    curl_easy_getinfo(state->handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t end_call(struct call_state *state, enum call_end end)
{
    state->end = end;
    return CURL_WRITEFUNC_ERROR;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct call_state *state = context;
    const struct http_call *call = state->call;
    size_t len = size * count, limit = call->max_response ? call->max_response : DEFAULT_MAX_RESPONSE;
    long status = status_of(state);

    if (call->on_data && status >= 200 && status < 300)
        return call->on_data(call->context, str_of(data, len)) ? len : end_call(state, CALL_STOPPED);
    if (len > limit - state->answer->body.len)
        return end_call(state, CALL_TOO_LONG);
    return buf_append(&state->answer->body, data, len) ? len : end_call(state, CALL_TOO_LONG);
}

/* The empty line that ends a head, or trailers. Heads of 1xx and of redirects that are followed are not the final one. */
static void on_head_end(struct call_state *state)
{
    const struct http_call *call = state->call;
    long status = status_of(state);
    bool final = status >= 200 && !(state->follows && status >= 300 && status < 400);

    if (!final || state->head_told)
        return;
    state->head_told = true;
    if (call->on_head)
        call->on_head(call->context, (int)status);
}

/* Keeps the one field that callers ask for; a new status line (after a redirect or 100) begins anew. */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    static const struct str name = STR_LITERAL("api-version:");
    struct call_state *state = context;
    struct str line = str_of(data, size * count);

    if (str_starts_with(line, STR_LITERAL("HTTP/")))
        state->answer->api_version[0] = '\0';
    else if (line.len > name.len && str_equal_nocase(str_of(line.data, name.len), name)) {
        struct str value = str_trim(str_skip(line, name.len));
        (void)snprintf(state->answer->api_version, sizeof(state->answer->api_version), "%.*s", STR_ARG(value));
    } else if (str_trim(line).len == 0)
        on_head_end(state);
    return line.len;
}

/* libcurl calls this at least once a second, also while nothing moves. */
static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct call_state *state = context;
    const struct http_call *call = state->call;
    (void)down_total;
    (void)up_total;

    if (call->cancelled && call->cancelled(call->context)) {
        state->end = CALL_CANCELLED;
        return 1;
    }
    if (down + up != state->moved) {
        state->moved = down + up;
        state->moved_at_ms = clock_monotonic_ms();
    } else if (call->stall_timeout_ms > 0 && clock_monotonic_ms() - state->moved_at_ms >= call->stall_timeout_ms) {
        state->end = CALL_STALLED;
        return 1;
    }
    return 0;
}

static void set_connection(CURL *handle, const struct http_client *client)
{
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "terminals/" TERMINALS_VERSION);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    if (client->unix_socket)
        curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, client->unix_socket);
    if (client->no_proxy_env || client->unix_socket)
        curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (client->proxy)
        curl_easy_setopt(handle, CURLOPT_PROXY, client->proxy);
    if (client->follow_redirects) {
        curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(handle, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    }
}

static void set_pem(CURL *handle, CURLoption option, const char *pem)
{
    struct curl_blob blob = { .data = (char *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY };

    curl_easy_setopt(handle, option, &blob);
}

/* libcurl would trust the system's folder of CAs besides the ones it is given. */
static void set_authorities(CURL *handle, const struct http_client *client)
{
    if (client->ca_file)
        curl_easy_setopt(handle, CURLOPT_CAINFO, client->ca_file);
    if (client->ca_pem)
        set_pem(handle, CURLOPT_CAINFO_BLOB, client->ca_pem);
    if (client->ca_file || client->ca_pem)
        curl_easy_setopt(handle, CURLOPT_CAPATH, NULL);
}

static void set_tls(CURL *handle, const struct http_client *client, const struct http_call *call)
{
    set_authorities(handle, client);
    if (call->cert_pem && call->key_pem) {
        set_pem(handle, CURLOPT_SSLCERT_BLOB, call->cert_pem);
        set_pem(handle, CURLOPT_SSLKEY_BLOB, call->key_pem);
    }
    if (client->cert_file)
        curl_easy_setopt(handle, CURLOPT_SSLCERT, client->cert_file);
    if (client->key_file)
        curl_easy_setopt(handle, CURLOPT_SSLKEY, client->key_file);
    if (client->insecure) {
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_callbacks(CURL *handle, struct call_state *state)
{
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, state->detail);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, state);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, state);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, state);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
}

/* POST, PUT and PATCH announce a length even when there is no body: some servers ask for one. */
static bool method_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void set_request(CURL *handle, const struct http_call *call)
{
    int64_t connect_ms = call->connect_timeout_ms > 0 ? call->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;

    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
        return;
    }
    if (call->has_body || method_has_body(call->method)) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(call->has_body ? call->body.len : 0));
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call->has_body && call->body.data ? call->body.data : "");
    }
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call->method);
}

static struct curl_slist *append_header(struct curl_slist *list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(list, header);

    ASSERT(longer);
    return longer;
}

/* Everything of a call whose memory libcurl only borrows until the call ends. */
struct call_memory {
    struct curl_slist *headers, *connect_to;
    struct client_alias alias;
};

static void clear_memory(struct call_memory *memory)
{
    curl_slist_free_all(memory->headers);
    curl_slist_free_all(memory->connect_to);
    client_alias_clear(&memory->alias);
}
#define cleanup_memory __attribute__((cleanup(clear_memory)))

/* The caller's fields; a name with nothing behind it tells libcurl to leave out a field that it would add. */
static struct curl_slist *header_list(const struct http_call *call)
{
    struct curl_slist *list = append_header(NULL, "Expect:");
    bool has_type = false;

    for (const char *const *header = call->headers; header && *header; header++) {
        has_type = has_type || strncasecmp(*header, "Content-Type:", sizeof("Content-Type:") - 1) == 0;
        list = append_header(list, *header);
    }
    return has_type ? list : append_header(list, "Content-Type:");
}

/* Where the call goes and with which fields. */
static void set_target(CURL *handle, const struct http_client *client, const struct http_call *call, struct call_memory *memory)
{
    memory->headers = header_list(call);
    if (client->server_name) {
        memory->alias = client_alias_make(call->url, client->server_name);
        memory->headers = append_header(memory->headers, memory->alias.host_field);
        memory->connect_to = append_header(NULL, memory->alias.connect_to);
        curl_easy_setopt(handle, CURLOPT_CONNECT_TO, memory->connect_to);
    }
    curl_easy_setopt(handle, CURLOPT_URL, memory->alias.url ? memory->alias.url : call->url);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, memory->headers);
}

static void keep_answer(struct call_state *state)
{
    const char *type = NULL;
    curl_off_t retry_after_s = 0;

    state->answer->status = (int)status_of(state);
    curl_easy_getinfo(state->handle, CURLINFO_CONTENT_TYPE, &type);
    (void)snprintf(state->answer->content_type, sizeof(state->answer->content_type), "%s", type ? type : "");
    curl_easy_getinfo(state->handle, CURLINFO_RETRY_AFTER, &retry_after_s);
    state->answer->retry_after_s = retry_after_s;
}

int http_client_call(struct http_client *client, const struct http_call *call, struct http_answer *answer, struct error *err)
{
    cleanup_memory struct call_memory memory = { 0 };
    CURL *handle = take_handle(client);
    struct call_state state = { .call = call, .answer = answer, .handle = handle, .moved_at_ms = clock_monotonic_ms(),
                                .follows = client->follow_redirects };

    *answer = (struct http_answer){ 0 };
    set_connection(handle, client);
    set_tls(handle, client, call);
    set_callbacks(handle, &state);
    set_request(handle, call);
    set_target(handle, client, call, &memory);

    CURLcode code = curl_easy_perform(handle);
    keep_answer(&state);
    int result = code == CURLE_OK ? 0 : client_describe_failure(&state, code, client->unix_socket, err);
    if (result < 0)
        http_answer_clear(answer);
    give_back_handle(client, handle);
    return result;
}
