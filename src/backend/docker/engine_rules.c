/* What follows from an engine's numbers and messages: the version to speak, the class of an error. Pure functions. */
#include "backend/docker/engine.h"
#include "base/str.h"

/* What we were written against: from the oldest that has all we use to the newest whose changes we know. */
#define OLDEST_MINOR 40
#define PREFERRED_MINOR 44

static bool parse_version(const char *text, uint64_t *minor)
{
    struct str rest = str_from(text), major;

    return str_next_part(&rest, '.', &major) && str_equal_text(major, "1") && str_to_u64(rest, minor) && *minor < 1000;
}

int engine_choose_version(const char *api, const char *minimum, char version[static 16], struct error *err)
{
    uint64_t highest, lowest, chosen;

    if (!parse_version(api, &highest))
        return error_set(err, ERR_UNAVAILABLE, "the engine's API version '%s' is not understood", api);
    if (highest < OLDEST_MINOR)
        return error_set(err, ERR_UNAVAILABLE, "the engine is too old: it speaks API %s, needed is 1.%d (Docker 19.03) or newer", api, OLDEST_MINOR);
    chosen = highest < PREFERRED_MINOR ? highest : PREFERRED_MINOR;
    if (parse_version(minimum, &lowest) && lowest > chosen)
        chosen = lowest;
    if (chosen > highest)
        return error_set(err, ERR_UNAVAILABLE, "the engine names API %s as its newest and %s as its oldest", api, minimum);
    (void)snprintf(version, 16, "1.%u", (unsigned)chosen);
    return 0;
}

/* Fragments of messages that mean "full", each with what a person can do. */
static const struct full_message {
    const char *fragment, *advice;
} full_messages[] = {
    { "exchange full", "the bridge network is full (about 1000 guests); name several networks in TERMINALS_DOCKER_NETWORK" },
    { "no available IPv4 addresses", "the network has no free address; name further networks in TERMINALS_DOCKER_NETWORK" },
    { "no available IP", "the network has no free address; name further networks in TERMINALS_DOCKER_NETWORK" },
    { "non-overlapping IPv4 address pool", "the engine has no address range left for a network; remove unused ones (docker network prune)" },
    { "predefined address pools have been fully subnetted", "the engine has no address range left for a network; remove unused ones (docker network prune)" },
    { "port is already allocated", "no free port on the engine's host" },
    { "no space left on device", "the engine's disk is full; make room there (docker system df)" },
    { "cannot allocate memory", "the engine's host is out of memory" },
    { "Resource temporarily unavailable", "the engine's host is out of processes or memory" },
    { "resource temporarily unavailable", "the engine's host is out of processes or memory" },
};

static const char *advice_when_full(const char *message)
{
    for (size_t i = 0; i < COUNT_OF(full_messages); i++)
        if (strstr(message, full_messages[i].fragment))
            return full_messages[i].advice;
    return NULL;
}

static enum error_class class_of_status(int status)
{
    switch (status) {
    case 400: return ERR_INVALID;
    case 404: return ERR_NOT_FOUND;
    case 409: return ERR_CONFLICT;
    default: return ERR_UNAVAILABLE;
    }
}

int engine_map_error(enum engine_operation operation, int status, const char *message, struct error *err)
{
    const char *advice = status >= 400 ? advice_when_full(message) : NULL;

    if (advice)
        return error_set(err, ERR_NO_CAPACITY, "%s (%s)", advice, message);
    if (status == 401 || status == 403)
        return error_set(err, ERR_UNAVAILABLE, "the engine refuses %s (status %d%s%s); a proxy in front of it must allow containers, "
                         "images, networks, volumes, events, info and POST", engine_operation_name(operation), status,
                         *message ? ": " : "", message);
    if (!*message)
        return error_set(err, class_of_status(status), "the engine answered %s with status %d", engine_operation_name(operation), status);
    return error_set(err, class_of_status(status), "%s", message);
}

bool engine_misses_network(const char *message)
{
    static const char word[] = "network ";

    for (const char *found = strstr(message, word); found; found = strstr(found + 1, word))
        if (found == message || found[-1] == ' ')
            return true;
    return false;
}
