/* What a guest printed last, and how it ended. */
#include "backend/docker/parts.h"

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

/* Length of the escape sequence at the begin of `text`: CSI up to its final byte, OSC up to BEL or ST, else two bytes. */
static size_t escape_length(struct str text)
{
    size_t i = 2;

    if (text.len < 2)
        return text.len;
    if (text.data[1] == '[') {
        while (i < text.len && (unsigned char)text.data[i] < 0x40)
            i++;
        return i < text.len ? i + 1 : i;
    }
    if (text.data[1] == ']') {
        while (i < text.len && text.data[i] != '\a' && text.data[i] != '\x1b')
            i++;
        return i < text.len && text.data[i] == '\a' ? i + 1 : i;
    }
    return 2;
}

static void append_printable(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c == 0x1b)
            i += escape_length(str_skip(text, i)) - 1;
        else if (c == '\n' || (c >= 0x20 && c != 0x7f))
            buf_append_char(out, (char)c);
        else if (c == '\t')
            buf_append_char(out, ' ');
    }
}

/* Images with an init of their own print this under the engine's init; nothing is wrong, and it would push out what matters. */
static bool is_init_notice(struct str line)
{
    return str_starts_with(line, STR_LITERAL("[WARN  tini")) || str_starts_with(line, STR_LITERAL("Zombie processes will not be re-parented to Tini"))
        || str_starts_with(line, STR_LITERAL("To fix the problem, use the -s option or set the environment variable TINI_SUBREAPER"));
}

static void append_lines(struct str text, struct buf *out)
{
    struct str line;

    while (str_next_part(&text, '\n', &line)) {
        if (is_init_notice(line))
            continue;
        buf_append_str(out, line);
        buf_append_char(out, '\n');
    }
}

/* The end of the text, from the begin of a line where one is near, never from the middle of a character. */
static struct str last_part(struct str text, size_t most)
{
    struct str part = text.len > most ? str_skip(text, text.len - most) : text;
    size_t line_end = part.len < text.len ? str_find_char(part, '\n') : SIZE_MAX;

    if (line_end != SIZE_MAX && line_end < part.len / 2)
        return str_skip(part, line_end + 1);
    while (part.len > 0 && ((unsigned char)part.data[0] & 0xc0) == 0x80 && part.len < text.len)
        part = str_skip(part, 1);
    return part;
}

char *logs_to_text(struct str framed, size_t most)
{
    cleanup_buf struct buf plain = { 0 }, printable = { 0 }, lines = { 0 };
    struct str part;

    unpack_frames(framed, &plain);
    append_printable(buf_str(&plain), &printable);
    append_lines(buf_str(&printable), &lines);
    part = str_trim(last_part(str_trim(buf_str(&lines)), most));
    return str_is_utf8(part) ? str_dup(part) : xstrdup("(not UTF-8)");
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
    if (!json_is_true(json_object_get(json_object_get(inspection, "State"), "Running")))
        (void)container_exit_reason(inspection, reason);
    log = read_log(docker, json_text(inspection, "Id"));
    *text = xasprintf("%s; %s", reason, log);
    return 0;
}
