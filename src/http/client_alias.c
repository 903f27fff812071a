/* A server that is reached at one address and proves another name (a tunnel, a load balancer's address): libcurl takes both the name to verify
 * and the SNI from the URL, so the URL gets the name and CURLOPT_CONNECT_TO leads the connection to the real address. */
#include "http/client_parts.h"

/* The port's text within "host", "host:port" or "[v6]:port"; empty when there is none. */
static struct str port_of(struct str authority)
{
    const char *colon = memrchr(authority.data, ':', authority.len);
    const char *bracket = memrchr(authority.data, ']', authority.len);

    if (!colon || (bracket && bracket > colon))
        return str_of("", 0);
    return str_skip(authority, (size_t)(colon - authority.data) + 1);
}

struct client_alias client_alias_make(const char *url, const char *name)
{
    const char *start = strstr(url, "://");
    start = start ? start + 3 : url;
    struct str authority = str_of(start, strcspn(start, "/?#"));
    struct str port = port_of(authority);
    struct str host = str_of(start, authority.len - (port.len ? port.len + 1 : 0));
    const char *default_port = strncasecmp(url, "https:", 6) == 0 ? "443" : "80";
    struct str port_shown = port.len ? port : str_from(default_port);

    return (struct client_alias){
        .url = xasprintf("%.*s%s:%.*s%s", (int)(start - url), url, name, STR_ARG(port_shown), start + authority.len),
        .connect_to = xasprintf("::%.*s:%.*s", STR_ARG(host), STR_ARG(port_shown)),
        .host_field = xasprintf("Host: %.*s", STR_ARG(authority)),
    };
}

void client_alias_clear(struct client_alias *alias)
{
    free(alias->url);
    free(alias->connect_to);
    free(alias->host_field);
    *alias = (struct client_alias){ 0 };
}
