/* Paths of the API. Names come from outside (annotations, other people's objects): one that could be read as another path is refused, since the
 * server decodes %2F before it routes. */
#include "kubernetes/request.h"

static bool segment_is_plain(const char *text)
{
    return *text && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 && !strpbrk(text, "/%") && !str_has_control(str_from(text));
}

static void append_encoded(struct buf *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

    for (const char *c = text; *c; c++) {
        if (strchr(plain, *c))
            buf_append_char(out, *c);
        else
            buf_printf(out, "%%%02X", (unsigned char)*c);
    }
}

static int append_segment(struct buf *path, const char *what, const char *text, struct error *err)
{
    if (!segment_is_plain(text))
        return error_set(err, ERR_INVALID, "'%.100s' is no %s of an object", text, what);
    buf_append_char(path, '/');
    append_encoded(path, text);
    return 0;
}

/* The buffer holds a C string as well, from here on. */
static void terminate(struct buf *path)
{
    char *end = buf_reserve(path, 1);

    ASSERT(end);
    *end = '\0';
}

int kube_path(const struct kube_target *target, struct buf *path, struct error *err)
{
    const struct kube_resource *resource = target->resource;

    if (*resource->group)
        buf_printf(path, "/apis/%s/%s", resource->group, resource->version);
    else
        buf_printf(path, "/api/%s", resource->version);
    if (target->namespace && !resource->cluster_wide) {
        buf_append_text(path, "/namespaces");
        if (append_segment(path, "namespace", target->namespace, err) < 0)
            return -1;
    }
    buf_printf(path, "/%s", resource->plural);
    if (target->name && append_segment(path, "name", target->name, err) < 0)
        return -1;
    if (target->subresource)
        buf_printf(path, "/%s", target->subresource);
    terminate(path);
    return 0;
}

void kube_path_query(struct buf *path, const char *key, const char *value)
{
    buf_append_char(path, memchr(path->data, '?', path->len) ? '&' : '?');
    buf_append_text(path, key);
    buf_append_char(path, '=');
    append_encoded(path, value);
    terminate(path);
}
