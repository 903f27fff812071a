#include "backend/log_tail.h"

#include "base/buf.h"

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

/* A guest is hostile: nothing that moves somebody's cursor goes through. */
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

char *log_tail(struct str text, size_t most)
{
    cleanup_buf struct buf printable = { 0 }, lines = { 0 };

    append_printable(text, &printable);
    append_lines(buf_str(&printable), &lines);
    struct str part = str_trim(last_part(str_trim(buf_str(&lines)), most));
    return str_is_utf8(part) ? str_dup(part) : xstrdup("(not UTF-8)");
}
