/* Opening, the connections and their locks, and how times and JSON stand in the database. */
#include "base/clock.h"
#include "store/internal.h"
#include "store/schema.h"
#include "store/url.h"

static void connection_close(struct connection *connection)
{
    database_close(&connection->database);
    pthread_mutex_destroy(&connection->lock);
}

struct store *store_open(const char *url, const char *state_dir, struct error *err)
{
    cleanup_free char *path = store_url_path(url, state_dir, err);
    if (!path)
        return NULL;
    struct store *store = xcalloc(1, sizeof(*store));
    pthread_mutex_init(&store->writer.lock, NULL);
    pthread_mutex_init(&store->reader.lock, NULL);
    if (database_open(&store->writer.database, path, DATABASE_MAKE, err) < 0 || schema_upgrade(&store->writer.database, err) < 0 ||
        database_open(&store->reader.database, path, DATABASE_LOOK, err) < 0) {
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
    connection_close(&store->reader);
    connection_close(&store->writer);
    free(store);
}

struct connection *connection_hold(struct connection *connection)
{
    pthread_mutex_lock(&connection->lock);
    return connection;
}

void connection_release(struct connection **place)
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
