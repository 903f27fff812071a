/* `terminals doctor` for Docker: each thing that a start needs, whether it is there, and what to do when it is not. Starts and pulls nothing; the managed
 * network is made, as the first start would. */
#include "backend/docker/parts.h"
#include "base/file.h"
#include "http/uri.h"

struct checkup {
    struct docker *docker;
    check_report_fn *report;
    void *context;
};

static void report(const struct checkup *checkup, bool ok, const char *what, const char *detail, const char *fix)
{
    struct check_result result = { .ok = ok, .what = what, .detail = detail, .fix = ok ? NULL : fix };

    checkup->report(checkup->context, &result);
}

static const char *fix_for_engine(const struct engine_address *where, const struct error *err)
{
    if (strstr(err->text, "ermission"))
        return "let this user use the socket: add it to the group `docker` (usermod -aG docker USER, then log in again), or run as root; "
               "in a container give --group-add the socket's group";
    if (where->unix_socket)
        return "install and start Docker (Debian, Ubuntu: apt-get install docker.io), or name the engine in DOCKER_HOST; "
               "in a container mount the socket: -v /var/run/docker.sock:/var/run/docker.sock";
    return "check DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, and that the engine listens there";
}

static bool check_engine(const struct checkup *checkup)
{
    struct docker *docker = checkup->docker;
    const struct engine_address *where = engine_where(docker->engine);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_INFO, .method = "GET", .path = "/info" };
    cleanup_free char *detail = NULL;
    const char *version;
    char api[16];
    struct error err;

    if (engine_call(docker->engine, &request, &answer, &err) < 0) {
        report(checkup, false, "Docker Engine", err.text, fix_for_engine(where, &err));
        return false;
    }
    engine_api_version(docker->engine, api);
    version = json_text(answer.json, "ServerVersion");
    detail = xasprintf("%s at %s, API %s, %lld cores", version ? version : "?", where->text, api,
                       (long long)json_integer_value(json_object_get(answer.json, "NCPU")));
    report(checkup, true, "Docker Engine", detail, NULL);
    return true;
}

static const char *reach_text(const struct reach *reach)
{
    switch (reach->mode) {
    case REACH_DIRECT: return "at their own addresses: their bridge is an interface of ours";
    case REACH_JOINED: return "through the managed network, which our own container joined; their ports are published on its bridge only";
    case REACH_PUBLISHED: return "through ports published on TERMINALS_DOCKER_HOST";
    }
    return "";
}

static void check_reach(const struct checkup *checkup)
{
    struct error err;
    cleanup_reach struct reach *reach = docker_reach(checkup->docker, &err);
    cleanup_free char *detail = NULL;

    if (!reach) {
        report(checkup, false, "reaching guests", err.text, err.class == ERR_NO_CAPACITY
               ? "remove unused networks (docker network prune), or name existing ones in TERMINALS_DOCKER_NETWORK"
               : "see the message; networks are named in TERMINALS_DOCKER_NETWORK, the address for published ports in TERMINALS_DOCKER_HOST");
        return;
    }
    detail = xasprintf("%s%s%s%s", reach_text(reach), reach->publish_ip ? " (" : "", reach->publish_ip ? reach->publish_ip : "", reach->publish_ip ? ")" : "");
    report(checkup, true, "reaching guests", detail, NULL);
}

static void check_image(const struct checkup *checkup)
{
    const char *image = checkup->docker->settings->image;
    cleanup_buf struct buf path = { 0 };
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_IMAGE_INSPECT, .method = "GET" };
    cleanup_free char *detail = NULL;
    struct error err;

    buf_append_text(&path, "/images/");
    uri_encode(&path, str_from(image));
    buf_append(&path, "/json", sizeof("/json"));
    request.path = path.data;
    if (engine_call(checkup->docker->engine, &request, &answer, &err) == 0)
        detail = xasprintf("%s is on the engine", image);
    else
        detail = err.class == ERR_NOT_FOUND ? xasprintf("%s is not on the engine; the first start will try to pull it", image) : xasprintf("%s: %s", image, err.text);
    report(checkup, answer.status == 200, "guest image", detail,
           "docker pull the image, build one (make guest-image), or name another in TERMINALS_IMAGE");
}

static void check_homes(const struct checkup *checkup)
{
    const char *data_dir = checkup->docker->settings->docker_data_dir;
    cleanup_free char *detail = NULL;

    if (!data_dir) {
        report(checkup, true, "homes", "one named volume per terminal", NULL);
        return;
    }
    if (access(data_dir, R_OK | W_OK | X_OK) == 0) {
        detail = xasprintf("directories below %s", data_dir);
        report(checkup, true, "homes", detail, NULL);
        return;
    }
    detail = xasprintf("TERMINALS_DOCKER_DATA_DIR %s is missing or not writable", data_dir);
    report(checkup, false, "homes", detail, "make the directory and give it to the user that runs this program");
}

void docker_check(struct docker *docker, check_report_fn *report_fn, void *context)
{
    struct checkup checkup = { docker, report_fn, context };

    if (!check_engine(&checkup))
        return;
    check_reach(&checkup);
    check_image(&checkup);
    check_homes(&checkup);
}
