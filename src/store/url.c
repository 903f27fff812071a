/* `sqlite:///relative`, `sqlite:////absolute`, each with an optional "+driver" and query. Nothing in the path is
 * percent-decoded: SQLAlchemy does not do it either. Error texts never show the URL, which may hold a password. */
#include "store/url.h"

#include "base/str.h"

static bool is_postgres(struct str scheme)
{
    return str_starts_with(scheme, STR_LITERAL("postgres"));
}

static bool is_sqlite(struct str scheme)
{
    return str_equal_text(scheme, "sqlite") || str_starts_with(scheme, STR_LITERAL("sqlite+"));
}

/* The part of the URL after the third slash, up to the query. */
static int read_path(struct str rest, struct str *path, struct error *err)
{
    if (rest.len == 0 || rest.data[0] != '/')
        return error_set(err, ERR_INVALID, "an SQLite URL has three slashes before a relative path and four before an "
                         "absolute one, such as sqlite:////var/lib/terminals/terminals.db");
    size_t query = str_find_char(rest, '?');
    *path = str_of(rest.data + 1, (query == SIZE_MAX ? rest.len : query) - 1);
    if (path->len == 0 || str_equal_text(*path, ":memory:"))
        return error_set(err, ERR_INVALID, "the database URL names no file: a database in memory would be lost at every "
                         "restart");
    if (str_starts_with(*path, STR_LITERAL("file:")))
        return error_set(err, ERR_INVALID, "the database URL must name a plain path, not an SQLite file: URI");
    return 0;
}

char *store_url_path(const char *url, const char *state_dir, struct error *err)
{
    if (!url || url[0] == '\0')
        return xasprintf("%s/terminals.db", state_dir);
    const char *colon = strstr(url, "://");
    struct str scheme = str_of(url, colon ? (size_t)(colon - url) : 0), path;
    if (is_postgres(scheme)) {
        (void)error_set(err, ERR_INVALID, "PostgreSQL is not supported by this build, which keeps its data in SQLite: set "
                        "TERMINALS_DATABASE_URL to sqlite:////path/to/terminals.db, or leave it out");
        return NULL;
    }
    if (!is_sqlite(scheme)) {
        (void)error_set(err, ERR_INVALID, "the database URL must begin with sqlite:///");
        return NULL;
    }
    return read_path(str_from(colon + 3), &path, err) < 0 ? NULL : str_dup(path);
}
