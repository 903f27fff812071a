/* Opening, the lock, and how times and JSON stand in the database. */
#include "base/clock.h"
#include "store/internal.h"
#include "store/schema.h"
#include "store/url.h"

struct store *store_open(const char *url, const char *state_dir, struct error *err)
{
    cleanup_free char *path = store_url_path(url, state_dir, err);
    if (!path)
        return NULL;
    struct store *store = xcalloc(1, sizeof(*store));
    pthread_mutex_init(&store->lock, NULL);
    if (database_open(&store->database, path, DATABASE_MAKE, err) < 0 || schema_upgrade(&store->database, err) < 0) {
        store_close(store);
        return NULL;
    }
    return store;
}

int store_check_writable(const char *url, const char *state_dir, struct error *err)
{
    cleanup_free char *path = store_url_path(url, state_dir, err);
    if (!path)
        return -1;
    int result = database_check_writable(path, err);
    return result < 0 && err->class == ERR_NOT_FOUND && access(state_dir, F_OK) < 0 ? 0 : result;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    database_close(&store->database);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

struct store *store_hold(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    return store;
}

void store_release(struct store **place)
{
    pthread_mutex_unlock(&(*place)->lock);
}

static void format_time(int64_t wall_us, char out[static STORE_TIME_SIZE])
{
    clock_format_iso(wall_us, out);
    out[10] = ' ';
    out[strlen(out) - 1] = '\0';        /* the Z */
}

void store_time_now(char out[static STORE_TIME_SIZE])
{
    format_time(clock_wall_us(), out);
}

char *store_time_shown(struct str text)
{
    char formatted[STORE_TIME_SIZE];
    cleanup_free char *copy = str_dup(text);
    int64_t wall_us = 0;
    (void)clock_parse_iso(copy, &wall_us);      /* what no program wrote as a time is shown as 1970 */
    format_time(wall_us, formatted);
    return xasprintf("%s+00:00", formatted);
}

json_t *column_object(sqlite3_stmt *statement, int index, struct error *why)
{
    cleanup_json json_t *value = json_read_lenient(column_str(statement, index), why);
    if (json_is_object(value))
        return steal(&value);
    if (value)
        (void)error_set(why, ERR_IO, "not a JSON object");
    return NULL;
}
