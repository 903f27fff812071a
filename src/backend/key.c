/* Terminal keys and names.
 *
 * A name has to be found again from the key alone, has to fit a DNS-1123 label and must not be shared by two keys. The parts
 * after the user hash are read from the right: a last segment of 12 hex digits is always a context hash, then a last segment of
 * 6 hex digits is always the hash of a policy id. A slug that stands alone therefore must be a faithful copy of the policy id
 * *and* must not end in a segment that could be taken for one of the two. */
#include "backend/key.h"

#include "base/defs.h"
#include "base/secret.h"

#define USER_ID_MAX_BYTES 256
#define CONTEXT_ID_MAX_CHARACTERS 256
#define SLUG_MAX 20
#define HASH_LEN 12
#define SUFFIX_LEN 6

/* --- the key ------------------------------------------------------------------------------------------------- */

struct terminal_key *terminal_key_new(struct str user_id, struct str policy_id, struct str context_id)
{
    struct terminal_key *key = xcalloc(1, sizeof(*key));

    key->user_id = str_dup(user_id);
    key->policy_id = str_dup(policy_id);
    key->context_id = str_dup(context_id);
    return key;
}

struct terminal_key *terminal_key_copy(const struct terminal_key *key)
{
    return terminal_key_new(str_from(key->user_id), str_from(key->policy_id), str_from(key->context_id));
}

void terminal_key_free(struct terminal_key *key)
{
    if (!key)
        return;
    free(key->user_id);
    free(key->policy_id);
    free(key->context_id);
    free(key);
}

bool terminal_key_equal(const struct terminal_key *a, const struct terminal_key *b)
{
    return strcmp(a->user_id, b->user_id) == 0 && strcmp(a->policy_id, b->policy_id) == 0
        && strcmp(a->context_id, b->context_id) == 0;
}

/* --- checks -------------------------------------------------------------------------------------------------- */

/* Also the C1 controls U+0080–U+009F, which are two bytes in UTF-8. */
static bool has_any_control(struct str text)
{
    if (str_has_control(text))
        return true;
    for (size_t i = 0; i + 1 < text.len; i++) {
        unsigned char first = (unsigned char)text.data[i], second = (unsigned char)text.data[i + 1];

        if (first == 0xc2 && second >= 0x80 && second <= 0x9f)
            return true;
    }
    return false;
}

/* A user id never becomes a path as it stands, but the original makes directories of it, and such ids name nobody. */
static bool is_path_like(struct str text)
{
    struct str rest = text, segment;

    if (text.len > 0 && text.data[0] == '/')
        return true;
    while (str_next_part(&rest, '/', &segment))
        if (str_equal_text(segment, ".") || str_equal_text(segment, ".."))
            return true;
    return false;
}

int user_id_check(struct str user_id, struct error *err)
{
    if (user_id.len == 0)
        return error_set(err, ERR_INVALID, "user_id is empty");
    if (user_id.len > USER_ID_MAX_BYTES)
        return error_set(err, ERR_INVALID, "user_id is longer than %d bytes", USER_ID_MAX_BYTES);
    if (!str_is_utf8(user_id))
        return error_set(err, ERR_INVALID, "user_id is not valid UTF-8");
    if (has_any_control(user_id))
        return error_set(err, ERR_INVALID, "user_id contains control characters");
    if (is_path_like(user_id))
        return error_set(err, ERR_INVALID, "user_id must not look like a path");
    if (str_find_char(user_id, ':') != SIZE_MAX)
        return error_set(err, ERR_INVALID, "user_id must not contain ':'");
    return 0;
}

static size_t count_characters(struct str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

int context_id_normalise(struct str given, struct str *context_id, struct error *err)
{
    struct str context = str_trim(given);

    if (context.len == 0) {
        *context_id = STR_LITERAL(DEFAULT_CONTEXT_ID);
        return 0;
    }
    if (count_characters(context) > CONTEXT_ID_MAX_CHARACTERS)
        return error_set(err, ERR_INVALID, "context_id is too long");
    if (has_any_control(context))
        return error_set(err, ERR_INVALID, "context_id contains control characters");
    if (!str_is_utf8(context))
        return error_set(err, ERR_INVALID, "context_id is not valid UTF-8");
    if (!str_equal_text(context, DEFAULT_CONTEXT_ID) && !str_starts_with(context, STR_LITERAL("chat:"))
        && !str_starts_with(context, STR_LITERAL("automation:")))
        return error_set(err, ERR_INVALID, "only chat and automation contexts are supported");
    *context_id = context;
    return 0;
}

bool managed_by_us(const char *value) { return value && strcmp(value, LABEL_MANAGED_BY_VALUE) == 0; }

const char *context_type(const char *context_id)
{
    struct str context = str_from(context_id);

    if (str_starts_with(context, STR_LITERAL("chat:")))
        return "chat";
    return str_starts_with(context, STR_LITERAL("automation:")) ? "automation" : "default";
}

/* --- names --------------------------------------------------------------------------------------------------- */

void key_hash12(const char *text, char out[static 13])
{
    char hex[65];

    sha256_hex(str_from(text), hex);
    memcpy(out, hex, HASH_LEN);
    out[HASH_LEN] = '\0';
}

/* One lower-case letter, digit or '-' for each *character* of the text, as the original counts them. */
static size_t slug_characters(const char *text, char *out)
{
    size_t len = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c & 0xc0) == 0x80)
            continue;
        if (c >= 'A' && c <= 'Z')
            out[len++] = (char)(c - 'A' + 'a');
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            out[len++] = (char)c;
        else
            out[len++] = '-';
    }
    return len;
}

void policy_slug(const char *policy_id, char out[static 21])
{
    cleanup_free char *all = xmalloc(strlen(policy_id) + 1);
    size_t end = slug_characters(policy_id, all), begin = 0;

    while (begin < end && all[begin] == '-')
        begin++;
    while (end > begin && all[end - 1] == '-')
        end--;
    if (end - begin > SLUG_MAX)
        end = begin + SLUG_MAX;
    memcpy(out, all + begin, end - begin);
    out[end - begin] = '\0';
}

/* Makes doubled hyphens one and drops one that the cut left at the end. */
static void slug_tidy(char *slug)
{
    size_t len = 0;

    for (const char *from = slug; *from; from++)
        if (*from != '-' || (len > 0 && slug[len - 1] != '-'))
            slug[len++] = *from;
    while (len > 0 && slug[len - 1] == '-')
        len--;
    slug[len] = '\0';
}

/* The last segment could be taken for the hash of a policy id or of a context. */
static bool ends_like_a_hash(const char *slug)
{
    const char *hyphen = strrchr(slug, '-');
    const char *segment = hyphen ? hyphen + 1 : slug;
    size_t len = strlen(segment);

    return (len == SUFFIX_LEN || len == HASH_LEN) && strspn(segment, "0123456789abcdef") == len;
}

/* "-<slug>", "-<slug>-<6 hex>" or "-<6 hex>"; "" for the default policy. */
static void format_policy_part(const char *policy_id, char *out, size_t size)
{
    char slug[SLUG_MAX + 1], hex[65];
    bool faithful;

    out[0] = '\0';
    if (strcmp(policy_id, DEFAULT_POLICY_ID) == 0)
        return;
    policy_slug(policy_id, slug);
    slug_tidy(slug);
    faithful = slug[0] && strcmp(slug, policy_id) == 0 && !ends_like_a_hash(slug);
    if (faithful) {
        (void)snprintf(out, size, "-%s", slug);
        return;
    }
    sha256_hex(str_from(policy_id), hex);
    (void)snprintf(out, size, "%s%s-%.*s", slug[0] ? "-" : "", slug, SUFFIX_LEN, hex);
}

/* "-<12 hex>", or "" for the default context. */
static void format_context_part(const char *context_id, char out[static HASH_LEN + 2])
{
    out[0] = '\0';
    if (strcmp(context_id, DEFAULT_CONTEXT_ID) == 0)
        return;
    out[0] = '-';
    key_hash12(context_id, out + 1);
}

void terminal_name(const struct terminal_key *key, const char *prefix, char out[static TERMINAL_NAME_SIZE])
{
    char user[HASH_LEN + 1], policy[SLUG_MAX + SUFFIX_LEN + 3], context[HASH_LEN + 2];
    int len;

    key_hash12(key->user_id, user);
    format_policy_part(key->policy_id, policy, sizeof(policy));
    format_context_part(key->context_id, context);
    len = snprintf(out, TERMINAL_NAME_SIZE, "%s%s%s%s", prefix, user, policy, context);
    ASSERT(len > 0 && len < TERMINAL_NAME_SIZE);
}

void terminal_legacy_name(const struct terminal_key *key, const char *prefix, char out[static TERMINAL_NAME_SIZE])
{
    bool has_slug = strcmp(key->policy_id, DEFAULT_POLICY_ID) != 0;
    char user[HASH_LEN + 1], slug[SLUG_MAX + 1] = "", context[HASH_LEN + 2];
    int len;

    key_hash12(key->user_id, user);
    if (has_slug)
        policy_slug(key->policy_id, slug);
    format_context_part(key->context_id, context);
    len = snprintf(out, TERMINAL_NAME_SIZE, "%s%s%s%s%s", prefix, user, has_slug ? "-" : "", slug, context);
    ASSERT(len > 0 && len < TERMINAL_NAME_SIZE);
}
