/* What a text must be like. Each error ends the sentence "NAME=value: …". */
#include <ctype.h>
#include <strings.h>

#include "base/quantity.h"
#include "settings/types.h"

static bool has_space(const char *text)
{
    return text[strcspn(text, " \t\r\n\v\f")] != '\0' || str_has_control(str_from(text));
}

int check_api_key(const char *text, struct error *err)
{
    if (has_space(text))
        return error_set(err, ERR_INVALID, "a key must not hold spaces or control characters");
    return 0;
}

int check_word(const char *text, struct error *err)
{
    if (has_space(text))
        return error_set(err, ERR_INVALID, "must not hold spaces or control characters");
    return 0;
}

int check_host(const char *text, struct error *err)
{
    if (has_space(text) || strchr(text, '/'))
        return error_set(err, ERR_INVALID, "must be an address or a host name, such as 0.0.0.0, :: or localhost");
    return 0;
}

int check_published_address(const char *text, struct error *err)
{
    if (has_space(text) || strchr(text, '/'))
        return error_set(err, ERR_INVALID, "must be the address or host name at which published ports are reached, such "
                         "as 127.0.0.1; the engine's own address is named by DOCKER_HOST, without prefix");
    return 0;
}

/* Whether `text` is `scheme` followed by something other than '/'. */
static bool has_scheme_and_host(const char *text, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncasecmp(text, scheme, len) == 0 && text[len] != '\0' && text[len] != '/';
}

static bool is_http_url(const char *text)
{
    return !has_space(text) && (has_scheme_and_host(text, "http://") || has_scheme_and_host(text, "https://"));
}

int check_http_url(const char *text, struct error *err)
{
    if (!is_http_url(text) || strpbrk(text, "?#"))
        return error_set(err, ERR_INVALID, "must be a URL such as https://chat.example.com, without query");
    return 0;
}

int check_origin(const char *text, struct error *err)
{
    if (strcmp(text, "*") == 0)
        return 0;
    const char *host = strstr(text, "://");
    if (!is_http_url(text) || strpbrk(host + 3, "/?#"))
        return error_set(err, ERR_INVALID, "must be a comma-separated list of origins such as https://chat.example.com, "
                         "without path, or *");
    return 0;
}

int check_database_url(const char *text, struct error *err)
{
    static const char *const schemes[] = { "sqlite:///", "sqlite+aiosqlite:///", "postgres://", "postgresql://",
                                           "postgresql+asyncpg://" };
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0 && text[strlen(schemes[i])] != '\0')
            return 0;
    return error_set(err, ERR_INVALID, "must begin with sqlite:///, sqlite+aiosqlite:///, postgres://, postgresql:// or "
                     "postgresql+asyncpg://, such as sqlite:////var/lib/terminals/terminals.db");
}

int check_size(const char *text, struct error *err)
{
    uint64_t bytes;
    if (!quantity_parse_size(str_from(text), &bytes) || bytes == 0)
        return error_set(err, ERR_INVALID, "must be a size above zero such as 512Mi, 2Gi or 1.5G");
    return 0;
}

int check_cpu(const char *text, struct error *err)
{
    uint64_t nano_cpus;
    if (!quantity_parse_cpu(str_from(text), &nano_cpus) || nano_cpus == 0)
        return error_set(err, ERR_INVALID, "must be an amount of cores above zero such as 2, 0.5 or 500m");
    return 0;
}

/* Characters of `also` besides letters (lower-case only when `lower`) and digits; begins and ends with those. */
static bool is_name_of(struct str text, const char *also, bool lower, size_t max)
{
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool plain = isdigit(c) || (c < 0x80 && (lower ? islower(c) : isalpha(c)));
        if (!plain && (i == 0 || i == text.len - 1 || !strchr(also, c)))
            return false;
    }
    return true;
}

int check_dns_label(const char *text, struct error *err)
{
    if (!is_name_of(str_from(text), "-", true, 63))
        return error_set(err, ERR_INVALID, "must be 1 to 63 lower-case letters, digits and '-'");
    return 0;
}

int check_operator_namespace(const char *text, struct error *err)
{
    return strcmp(text, "*") == 0 ? 0 : check_dns_label(text, err);
}

static bool is_dns_name(struct str text)
{
    struct str part;
    if (text.len == 0 || text.len > 253 || text.data[text.len - 1] == '.')
        return false;
    while (str_next_part(&text, '.', &part))
        if (!is_name_of(part, "-", true, 63))
            return false;
    return true;
}

int check_dns_name(const char *text, struct error *err)
{
    if (!is_dns_name(str_from(text)))
        return error_set(err, ERR_INVALID, "must be a lower-case DNS name such as openwebui.com");
    return 0;
}

int check_absolute_path(const char *text, struct error *err)
{
    if (text[0] != '/')
        return error_set(err, ERR_INVALID, "must be an absolute path");
    return 0;
}

int check_label(const char *key, const char *value, struct error *err)
{
    struct str name = str_from(key);
    size_t slash = str_find_char(name, '/');
    bool fits = true;
    if (slash != SIZE_MAX) {
        fits = is_dns_name(str_of(name.data, slash));
        name = str_skip(name, slash + 1);
    }
    if (!fits || !is_name_of(name, "-_.", false, 63))
        return error_set(err, ERR_INVALID, "'%s' is not a label key ([prefix/]name of letters, digits, '-', '_', '.')", key);
    if (value[0] != '\0' && !is_name_of(str_from(value), "-_.", false, 63))
        return error_set(err, ERR_INVALID, "'%s' is not a label value (at most 63 letters, digits, '-', '_', '.')", value);
    return 0;
}
