/* Which kind of request a path is: the order of orchestrator.md §2.1, and the passive requests of open-webui.md. Pure functions. */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "api/documents.h"
#include "http/head.h"

enum route_kind {
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_METRICS,
    ROUTE_CONTROL,              /* /api/v1 */
    ROUTE_PAGE,                 /* the admin page's files */
    ROUTE_DOCUMENT,             /* served from the documents, without a user */
    ROUTE_PROXY,
    ROUTE_TERMINAL_SOCKET,
    ROUTE_TUNNEL,               /* any other upgrade on a proxied path */
    ROUTE_BAD_METHOD,           /* a method that is not proxied */
    ROUTE_NOT_FOUND,
    ROUTE_KIND_COUNT
};
/* For metrics and logs. */
const char *route_kind_name(enum route_kind kind);

/* Requests that clients send by themselves, and what an idle guest would say. */
enum passive_kind {
    PASSIVE_NOT,
    PASSIVE_PROCESSES, PASSIVE_PROCESS_STATUS, PASSIVE_PORTS, PASSIVE_HEALTH,
    PASSIVE_CONFIG, PASSIVE_SYSTEM,         /* from the documents */
};

struct route_match {
    enum route_kind kind;
    enum passive_kind passive;
    enum document_kind document;        /* of ROUTE_DOCUMENT, PASSIVE_CONFIG and PASSIVE_SYSTEM */
    bool names_policy;                  /* below /p/ */
    struct str policy_id;               /* still encoded; "default" when none is named */
    struct str path;                    /* as the guest gets it, byte for byte */
    struct str session;                 /* ROUTE_TERMINAL_SOCKET: the last segment, still encoded */
    bool is_skills;                     /* GET /skills: waits 5 s at most */
    bool creates_session;               /* POST /api/terminals */
};

/* The parts of `match` live as long as those of `request`. */
void routes_match(const struct http_request *request, struct route_match *match);

#endif
