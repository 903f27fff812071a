/* A token is three base64url parts joined by dots; the second is a JSON object. */
#include "auth/jwt.h"

#include "base/buf.h"
#include "base/json.h"

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-' || c == '_')
        return c == '-' ? 62 : 63;
    return -1;
}

/* Without padding. */
static bool base64url_decode(struct str text, struct buf *out)
{
    unsigned bits = 0, held = 0;

    if (text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64url_value(text.data[i]);

        if (value < 0)
            return false;
        held = held << 6 | (unsigned)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (!buf_append_char(out, (char)(held >> bits & 0xff)))
                return false;
        }
        held &= (1u << bits) - 1;
    }
    return true;
}

json_t *jwt_read_claims(struct str token)
{
    struct str rest = token, header, payload, signature, more;
    cleanup_buf struct buf decoded = { 0 };
    cleanup_json json_t *claims = NULL;
    struct error ignored;

    if (!str_next_part(&rest, '.', &header) || !str_next_part(&rest, '.', &payload) || !str_next_part(&rest, '.', &signature)
        || str_next_part(&rest, '.', &more))
        return NULL;
    if (header.len == 0 || signature.len == 0 || !base64url_decode(payload, &decoded))
        return NULL;
    claims = json_read(buf_str(&decoded), &ignored);
    return json_is_object(claims) ? steal(&claims) : NULL;
}
