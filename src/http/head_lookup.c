/* Questions about a parsed head: which fields there are, which of them end at a proxy, and what a status is called. */
#include "http/head_parts.h"

/* Field names are short: comparing lengths first makes most comparisons one instruction. */
static bool name_equal(struct str a, struct str b)
{
    return a.len == b.len && str_equal_nocase(a, b);
}

const struct http_field *http_find_field(const struct http_fields *fields, struct str name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (name_equal(fields->items[i].name, name))
            return &fields->items[i];
    return NULL;
}

size_t http_count_field(const struct http_fields *fields, struct str name)
{
    size_t count = 0;

    for (size_t i = 0; i < fields->count; i++)
        count += name_equal(fields->items[i].name, name);
    return count;
}

static bool list_holds(struct str list, struct str token)
{
    struct str element;

    while (head_next_element(&list, &element))
        if (name_equal(element, token))
            return true;
    return false;
}

bool http_list_has(const struct http_fields *fields, struct str name, struct str token)
{
    for (size_t i = 0; i < fields->count; i++)
        if (name_equal(fields->items[i].name, name) && list_holds(fields->items[i].value, token))
            return true;
    return false;
}

static bool is_always_hop_by_hop(struct str name)
{
    switch (name.len) {
    case 2:
        return TOKEN_IS(name.data, "te");
    case 7:
        return TOKEN_IS(name.data, "trailer") || TOKEN_IS(name.data, "upgrade");
    case 10:
        return TOKEN_IS(name.data, "connection") || TOKEN_IS(name.data, "keep-alive");
    case 17:
        return TOKEN_IS(name.data, "transfer-encoding");
    default:
        return false;
    }
}

bool http_is_hop_by_hop(const struct http_fields *fields, struct str name)
{
    if (is_always_hop_by_hop(name))
        return true;
    if (name.len > 6 && TOKEN_IS(name.data, "proxy-"))
        return true;
    /* A sender that names the length would otherwise leave the next hop with a body of unknown end. */
    if (name.len == 14 && TOKEN_IS(name.data, "content-length"))
        return false;
    return http_list_has(fields, STR_LITERAL("connection"), name);
}

const char *http_reason_phrase(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 102: return "Processing";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 423: return "Locked";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "";
    }
}
