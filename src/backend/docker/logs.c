/* What a guest printed last, and how it ended. */
#include "backend/docker/parts.h"
#include "backend/log_tail.h"

#define LOG_LINES "20"
#define MOST_TEXT 500
#define FRAME_HEADER 8

/* --- unpacking ----------------------------------------------------------------------------------------------- */

/* Without a terminal the engine frames the two streams: type (0–2), three zeros, length in network order. */
static bool is_frame(struct str data)
{
    return data.len >= FRAME_HEADER && (unsigned char)data.data[0] <= 2 && !data.data[1] && !data.data[2] && !data.data[3];
}

static void unpack_frames(struct str data, struct buf *out)
{
    while (is_frame(data)) {
        const unsigned char *head = (const unsigned char *)data.data;
        size_t len = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];
        size_t have = data.len - FRAME_HEADER;

        if (len > have)
            len = have;
        buf_append(out, data.data + FRAME_HEADER, len);
        data = str_skip(data, FRAME_HEADER + len);
    }
    buf_append_str(out, data);
}

char *logs_to_text(struct str framed, size_t most)
{
    cleanup_buf struct buf plain = { 0 };

    unpack_frames(framed, &plain);
    return log_tail(buf_str(&plain), most);
}

/* --- asking -------------------------------------------------------------------------------------------------- */

/* In brackets why there is none, such as a log driver that cannot be read. */
static char *read_log(struct docker *docker, const char *id)
{
    cleanup_free char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1&tail=" LOG_LINES, id), *text = NULL;
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_LOGS, .method = "GET", .path = path };
    struct error err;

    if (engine_call(docker->engine, &request, &answer, &err) < 0)
        return xasprintf("(its output cannot be read: %.200s)", err.text);
    text = logs_to_text(buf_str(&answer.raw), MOST_TEXT);
    return *text ? xasprintf("its last lines:\n%s", text) : xstrdup("it printed nothing");
}

int docker_diagnose(struct docker *docker, const struct terminal_ref *ref, char **text, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    cleanup_free char *log = NULL;
    char name[TERMINAL_NAME_SIZE], reason[160] = "still running";

    terminal_name(ref->key, NAME_PREFIX, name);
    if (container_inspect(docker, ref->instance_id ? ref->instance_id : ref->name ? ref->name : name, &inspection, err) < 0)
        return -1;
    if (!container_is_of(inspection, ref->key))
        return error_set(err, ERR_NOT_FOUND, "there is no container of this terminal");
    if (!container_runs(inspection))
        (void)container_exit_reason(inspection, reason);
    log = read_log(docker, json_text(inspection, "Id"));
    *text = xasprintf("%s; %s", reason, log);
    return 0;
}
