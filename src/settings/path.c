/* Paths as text: nothing is looked up in the file system but the working directory. */
#include "settings/types.h"

/* Appends "/part", or goes one up for "..". */
static void append_part(struct buf *path, struct str part)
{
    if (part.len == 0 || str_equal_text(part, "."))
        return;
    if (str_equal_text(part, "..")) {
        while (path->len > 0 && path->data[--path->len] != '/')
            ;
        return;
    }
    buf_append_char(path, '/');
    buf_append_str(path, part);
}

static void append_parts(struct buf *path, struct str text)
{
    struct str part;
    while (str_next_part(&text, '/', &part))
        append_part(path, part);
}

char *path_normalise(const char *text)
{
    cleanup_buf struct buf path = { 0 };
    if (text[0] != '/') {
        cleanup_free char *directory = getcwd(NULL, 0);
        if (!directory || directory[0] != '/')
            return NULL;
        append_parts(&path, str_from(directory));
    }
    append_parts(&path, str_from(text));
    if (path.len == 0)
        buf_append_char(&path, '/');
    return buf_take(&path);
}
