/* The table of paths. Compared byte for byte as received: an encoded spelling of one of our own paths is a path of the
 * guest, which never reaches our control plane. */
#include "gateway/routes.h"
#include "http/uri.h"

const char *route_kind_name(enum route_kind kind)
{
    static const char *const names[ROUTE_KIND_COUNT] = {
        [ROUTE_HEALTH] = "health", [ROUTE_READY] = "ready", [ROUTE_METRICS] = "metrics", [ROUTE_CONTROL] = "control",
        [ROUTE_PAGE] = "page", [ROUTE_DOCUMENT] = "document", [ROUTE_PROXY] = "proxy",
        [ROUTE_TERMINAL_SOCKET] = "terminal", [ROUTE_TUNNEL] = "tunnel", [ROUTE_BAD_METHOD] = "bad_method",
        [ROUTE_NOT_FOUND] = "not_found",
    };
    return names[kind];
}

static bool is_get(const struct http_request *request)
{
    return request->method == HTTP_GET || request->method == HTTP_HEAD;
}

/* Our own paths; false when the path is none of them. */
static bool match_own(const struct http_request *request, struct route_match *match)
{
    struct str path = request->path;

    if (str_equal_text(path, "/api/v1") || str_starts_with(path, STR_LITERAL("/api/v1/"))) {
        match->kind = str_equal_text(path, "/api/v1") ? ROUTE_NOT_FOUND : ROUTE_CONTROL;
        return true;
    }
    if (str_equal_text(path, "/favicon.svg") || str_starts_with(path, STR_LITERAL("/_app/")) ||
        (str_equal_text(path, "/") && is_get(request) && !request->upgrade)) {
        match->kind = is_get(request) ? ROUTE_PAGE : ROUTE_BAD_METHOD;
        return true;
    }
    if (!is_get(request))
        return false;
    if (str_equal_text(path, "/health"))
        match->kind = ROUTE_HEALTH;
    else if (str_equal_text(path, "/ready"))
        match->kind = ROUTE_READY;
    else if (str_equal_text(path, "/metrics"))
        match->kind = ROUTE_METRICS;
    else
        return false;
    return true;
}

/* Cuts "/p/{policy_id}" off the front. */
static void split_policy(struct str path, struct route_match *match)
{
    match->policy_id = STR_LITERAL("default");
    match->path = path;
    if (!str_starts_with(path, STR_LITERAL("/p/")))
        return;
    struct str rest = str_skip(path, 3);
    size_t slash = str_find_char(rest, '/');
    match->names_policy = true;
    match->policy_id = slash == SIZE_MAX ? rest : str_of(rest.data, slash);
    match->path = slash == SIZE_MAX ? STR_LITERAL("/") : str_skip(rest, slash);
}

/* "/execute/{id}/status" with nothing but a plain id. */
static bool is_process_status(struct str path)
{
    if (!str_starts_with(path, STR_LITERAL("/execute/")) || !str_ends_with(path, STR_LITERAL("/status")))
        return false;
    struct str id = str_skip(path, 9);
    if (id.len <= 7)
        return false;
    return str_find_char(str_of(id.data, id.len - 7), '/') == SIZE_MAX;
}

/* A `wait` that makes the guest hold the answer back is a user's doing. */
static bool asks_to_wait(const struct http_request *request)
{
    struct str rest = request->query, name, value;

    if (!request->has_query)
        return false;
    while (query_next(&rest, &name, &value))
        if (str_equal_text(name, "wait"))
            for (size_t i = 0; i < value.len; i++)
                if (value.data[i] != '0' && value.data[i] != '.')
                    return true;
    return false;
}

static void match_passive(const struct http_request *request, struct route_match *match)
{
    struct str path = match->path;

    if (str_equal_text(path, "/execute"))
        match->passive = PASSIVE_PROCESSES;
    else if (str_equal_text(path, "/ports"))
        match->passive = PASSIVE_PORTS;
    else if (str_equal_text(path, "/health"))
        match->passive = PASSIVE_HEALTH;
    else if (is_process_status(path) && !asks_to_wait(request))
        match->passive = PASSIVE_PROCESS_STATUS;
    else if (str_equal_text(path, "/skills"))
        match->is_skills = true;
}

static bool is_system_or_nobody(const struct http_request *request)
{
    const struct http_field *user = http_find_field(&request->fields, STR_LITERAL("X-User-Id"));
    return !user || (str_equal_text(user->value, "system") &&
                     http_count_field(&request->fields, STR_LITERAL("X-User-Id")) == 1);
}

/* The guest's documents; false when the path is none of them. */
static bool match_document(const struct http_request *request, struct route_match *match)
{
    struct str path = match->path;

    if (str_equal_text(path, "/openapi.json")) {
        match->kind = ROUTE_DOCUMENT;
        match->document = DOCUMENT_OPENAPI;
        return true;
    }
    bool is_config = str_equal_text(path, "/api/config");
    if (!is_config && !str_equal_text(path, "/system"))
        return false;
    match->document = is_config ? DOCUMENT_CONFIG : DOCUMENT_SYSTEM;
    if (is_system_or_nobody(request))
        match->kind = ROUTE_DOCUMENT;
    else
        match->passive = is_config ? PASSIVE_CONFIG : PASSIVE_SYSTEM;
    return true;
}

/* "h2c" is offered by clients that are content with HTTP/1.1: leaving it out is the answer. */
static bool upgrades(const struct http_request *request)
{
    return request->upgrade && !str_equal_nocase(request->upgrade_protocol, STR_LITERAL("h2c"));
}

static bool is_terminal_socket(const struct http_request *request, struct route_match *match)
{
    if (request->method != HTTP_GET || !str_equal_nocase(request->upgrade_protocol, STR_LITERAL("websocket")) ||
        !str_starts_with(match->path, STR_LITERAL("/api/terminals/")))
        return false;
    match->session = str_skip(match->path, 15);
    return match->session.len > 0 && str_find_char(match->session, '/') == SIZE_MAX;
}

void routes_match(const struct http_request *request, struct route_match *match)
{
    *match = (struct route_match){ .kind = ROUTE_PROXY };
    if (request->path.len == 0 || request->path.data[0] != '/') {
        match->kind = ROUTE_NOT_FOUND;
        return;
    }
    if (match_own(request, match))
        return;
    split_policy(request->path, match);
    if (request->method == HTTP_METHOD_OTHER) {
        match->kind = ROUTE_BAD_METHOD;
        return;
    }
    if (upgrades(request)) {
        match->kind = is_terminal_socket(request, match) ? ROUTE_TERMINAL_SOCKET : ROUTE_TUNNEL;
        return;
    }
    if (request->method == HTTP_GET && !match_document(request, match))
        match_passive(request, match);
    if (request->method == HTTP_POST)
        match->creates_session = str_equal_text(match->path, "/api/terminals");
}
