/* Are we a container of this engine, and which network interfaces do we have? */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>

#include "backend/docker/reach.h"
#include "base/file.h"
#include "base/str.h"

#define PROC_FILE_MAX (1u << 20)

static bool is_hex(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789abcdef", text.data[i]))
            return false;
    return text.len > 0;
}

/* The first 64 hex digits standing alone in the text. */
static bool find_long_id(struct str text, char id[static 65])
{
    size_t run = 0;

    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && strchr("0123456789abcdef", text.data[i])) {
            run++;
            continue;
        }
        if (run == 64) {
            memcpy(id, text.data + i - 64, 64);
            id[64] = '\0';
            return true;
        }
        run = 0;
    }
    return false;
}

/* The engine mounts files of the container's own directory over /etc/hostname and its like: the fourth field of such a line is that
 * directory. On a host the ids in *other* fields are its containers'. */
static bool id_from_mountinfo(const char *mountinfo, char id[static 65])
{
    struct str rest = str_from(mountinfo), line;

    while (str_next_part(&rest, '\n', &line)) {
        struct str field[5];
        size_t count = 0;

        while (count < COUNT_OF(field) && str_next_part(&line, ' ', &field[count]))
            count++;
        if (count == COUNT_OF(field)
            && (str_equal_text(field[4], "/etc/hostname") || str_equal_text(field[4], "/etc/hosts") || str_equal_text(field[4], "/etc/resolv.conf"))
            && find_long_id(field[3], id))
            return true;
    }
    return false;
}

size_t self_candidates(const struct self_sources *sources, char ids[static 3][65])
{
    struct str hostname = str_from(sources->hostname);
    size_t count = 0;

    if (sources->mountinfo && id_from_mountinfo(sources->mountinfo, ids[count]))
        count++;
    if (sources->cgroup && find_long_id(str_from(sources->cgroup), ids[count]))
        count++;
    if (hostname.len == 12 && is_hex(hostname)) {
        memcpy(ids[count], hostname.data, 12);
        ids[count++][12] = '\0';
    }
    return count;
}

static char *read_proc(const char *path)
{
    char *text = NULL;
    size_t len;

    if (file_read(path, PROC_FILE_MAX, &text, &len, NULL) < 0)
        return NULL;
    return text;
}

/* An id means us only when it is the whole beginning of the container's id. */
static json_t *inspect_candidate(struct engine *engine, const char *id)
{
    cleanup_free char *path = xasprintf("/containers/%s/json", id);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_INSPECT, .method = "GET", .path = path };
    struct error ignored;
    const char *found;

    if (engine_call(engine, &request, &answer, &ignored) < 0)
        return NULL;
    found = json_text(answer.json, "Id");
    return found && strncmp(found, id, strlen(id)) == 0 ? json_incref(answer.json) : NULL;
}

json_t *self_inspect(struct engine *engine)
{
    cleanup_free char *mountinfo = read_proc("/proc/self/mountinfo"), *cgroup = read_proc("/proc/self/cgroup");
    char hostname[256] = "", ids[3][65];
    struct self_sources sources = { mountinfo, cgroup, hostname };
    size_t count;

    if (gethostname(hostname, sizeof(hostname) - 1) < 0)
        hostname[0] = '\0';
    count = self_candidates(&sources, ids);
    for (size_t i = 0; i < count; i++) {
        json_t *inspection = inspect_candidate(engine, ids[i]);

        if (inspection)
            return inspection;
    }
    return NULL;
}

static bool address_equals(const struct sockaddr *address, const char *text)
{
    char buffer[INET_ADDRSTRLEN];

    return address && address->sa_family == AF_INET
        && inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, buffer, sizeof(buffer))
        && strcmp(buffer, text) == 0;
}

bool interface_is_ours(const char *interface, const char *address)
{
    struct ifaddrs *all;
    bool found = false;

    if (!interface || !address || getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *one = all; one && !found; one = one->ifa_next)
        found = strcmp(one->ifa_name, interface) == 0 && address_equals(one->ifa_addr, address);
    freeifaddrs(all);
    return found;
}
