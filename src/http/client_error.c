/* Failed calls in words that a person can act on: which address, what went wrong, and what to do where we know it. */
#include "http/client_parts.h"

#include <errno.h>
#include <grp.h>
#include <sys/stat.h>

/* "http://host:port" of a URL: without user, path and query, which may hold secrets. */
static void origin_of(const char *url, char *out, size_t size)
{
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    size_t len = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', len);
    const char *host = at ? at + 1 : authority;

    (void)snprintf(out, size, "%.*s%.*s", (int)(authority - url), url, (int)(authority + len - host), host);
}

/* The name of the group that owns the file, or "that owns the socket" in words. */
static void owning_group(const char *path, char *out, size_t size)
{
    struct stat info;
    struct group entry, *found = NULL;
    char memory[4096];

    if (stat(path, &info) == 0 && (info.st_mode & S_IWGRP) && info.st_gid != 0 &&
        getgrgid_r(info.st_gid, &entry, memory, sizeof(memory), &found) == 0 && found)
        (void)snprintf(out, size, "'%s', which owns the socket", found->gr_name);
    else
        (void)snprintf(out, size, "that owns the socket");
}

static int describe_unix_socket(const char *path, int number, struct error *err)
{
    char group[300];

    switch (number) {
    case EACCES:
    case EPERM:
        owning_group(path, group, sizeof(group));
        return error_set(err, ERR_UNAVAILABLE, "no permission on %s: run as root or add the user to the group %s", path, group);
    case ENOENT:
    case ECONNREFUSED:
    case ENOTSOCK:
        return error_set(err, ERR_UNAVAILABLE, "no engine answers at %s: is it running? (%s)", path, strerror(number));
    default:
        return error_set_errno(err, ERR_UNAVAILABLE, number, "cannot connect to %s", path);
    }
}

static int describe_no_connection(const struct call_state *state, const char *where, const char *unix_socket, const char *detail,
                                  struct error *err)
{
    long number = 0;

    curl_easy_getinfo(state->handle, CURLINFO_OS_ERRNO, &number);
    if (unix_socket && number != 0)
        return describe_unix_socket(unix_socket, (int)number, err);
    if (number != 0)
        return error_set_errno(err, ERR_UNAVAILABLE, (int)number, "cannot connect to %s", where);
    return error_set(err, ERR_UNAVAILABLE, "cannot connect to %s: %s", where, detail);
}

static bool was_connected(const struct call_state *state)
{
    curl_off_t connected_us = 0, sent_us = 0;

    curl_easy_getinfo(state->handle, CURLINFO_CONNECT_TIME_T, &connected_us);
    curl_easy_getinfo(state->handle, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    return connected_us > 0 || sent_us > 0;
}

/* The transfers that we ended ourselves. */
static int describe_our_end(const struct call_state *state, const char *where, struct error *err)
{
    const struct http_call *call = state->call;

    switch (state->end) {
    case CALL_TOO_LONG:
        return error_set(err, ERR_LIMIT, "the answer of %s is too long", where);
    case CALL_STALLED:
        return error_set(err, ERR_TIMEOUT, "%s sent nothing for %lld ms", where, (long long)call->stall_timeout_ms);
    case CALL_STOPPED:
    case CALL_CANCELLED:
    case CALL_RAN:
        break;
    }
    return error_set(err, ERR_TIMEOUT, "stopped");
}

int client_describe_failure(const struct call_state *state, CURLcode code, const char *unix_socket, struct error *err)
{
    char origin[300];
    const char *where = unix_socket ? unix_socket : origin;
    const char *detail = state->detail[0] ? state->detail : curl_easy_strerror(code);

    origin_of(state->call->url, origin, sizeof(origin));
    if (state->end != CALL_RAN)
        return describe_our_end(state, where, err);
    if (code == CURLE_COULDNT_CONNECT)
        return describe_no_connection(state, where, unix_socket, detail, err);
    if (code == CURLE_OPERATION_TIMEDOUT && was_connected(state))
        return error_set(err, ERR_TIMEOUT, "no answer from %s in time: %s", where, detail);
    if (code == CURLE_OPERATION_TIMEDOUT || code == CURLE_COULDNT_RESOLVE_HOST)
        return error_set(err, ERR_UNAVAILABLE, "cannot connect to %s: %s", where, detail);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return error_set(err, ERR_INVALID, "'%s' is not an http or https URL", origin);
    return error_set(err, ERR_UNAVAILABLE, "the exchange with %s failed: %s", where, detail);
}
