/* Write-ahead log with synchronous=FULL: readers never wait for a writer, and a commit is on the disk when it returns.
 * Where the file system cannot share memory for the log (network file systems), SQLite keeps its rollback journal,
 * which is as durable. */
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"

enum { BUSY_STEP_MS = 10, BUSY_TIMEOUT_MS = 5000, BUSY_AGAIN_MS = 100 };

/* Fills `err` from what the last call on the handle said. */
static int database_fail(const struct database *database, int code, struct error *err)
{
    const char *path = database->path;
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(err, ERR_IO, "the database %s is locked by another program: stop that program and try again", path);
    case SQLITE_NOTADB:
        return error_set(err, ERR_IO, "%s is not an SQLite database: move it away, or name another file with "
                         "TERMINALS_DATABASE_URL", path);
    case SQLITE_CORRUPT:
        return error_set(err, ERR_IO, "the database %s is damaged: restore it from a copy, or move it away to begin anew", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(err, ERR_IO, "the database %s cannot be written: make the file and its directory writable for user "
                         "id %u", path, geteuid());
    case SQLITE_FULL:
        return error_set(err, ERR_IO, "the disk that holds the database %s is full", path);
    case SQLITE_CONSTRAINT:
        return error_set(err, ERR_CONFLICT, "the database %s has such a row already (%s)", path, sqlite3_errmsg(database->handle));
    default:
        return error_set(err, ERR_IO, "the database %s: %s", path,
                         database->handle ? sqlite3_errmsg(database->handle) : sqlite3_errstr(code));
    }
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static int no_directory(const char *path, enum error_class class, struct error *err)
{
    return error_set(err, class, "the directory of the database %s does not exist: make it, or name another file with "
                     "TERMINALS_DATABASE_URL", path);
}

static int not_writable(const char *path, int number, struct error *err)
{
    return error_set_errno(err, ERR_IO, number, "the database %s cannot be opened for writing by user id %u", path, geteuid());
}

int database_check_writable(const char *path, struct error *err)
{
    cleanup_free char *directory = path_directory(path);
    /* The write-ahead log lies beside the file and comes and goes with those who use it. */
    if (access(directory, W_OK | X_OK) < 0)
        return errno == ENOENT ? no_directory(path, ERR_NOT_FOUND, err) : not_writable(path, errno, err);
    return access(path, W_OK) == 0 || errno == ENOENT ? 0 : not_writable(path, errno, err);
}

/* Makes the file before SQLite does, readable for us only: policies may hold secrets. It stays empty until the first
 * transaction. The log files get the same mode from SQLite. */
static int make_file(const char *path, struct error *err)
{
    cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd >= 0)
        return 0;
    return errno == ENOENT || errno == ENOTDIR ? no_directory(path, ERR_IO, err) : not_writable(path, errno, err);
}

static int check_is_file(const char *path, struct error *err)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "the database %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERR_IO, "the database %s is not a file", path);
    return 0;
}

/* SQLite's busy handler: whether to try once more. */
static int wait_for_lock(void *context, int tries)
{
    struct database *database = context;
    int64_t now_ms = clock_monotonic_ms();
    bool again = database->gave_up_ms > 0 && now_ms - database->gave_up_ms < BUSY_TIMEOUT_MS;
    if (tries * BUSY_STEP_MS < (again ? BUSY_AGAIN_MS : BUSY_TIMEOUT_MS)) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = BUSY_STEP_MS * 1000000 }, NULL);
        return 1;
    }
    if (!again)
        database->gave_up_ms = now_ms;
    return 0;
}

static int configure(struct database *database, enum database_mode mode, struct error *err)
{
    sqlite3_busy_handler(database->handle, wait_for_lock, database);
    sqlite3_extended_result_codes(database->handle, 1);
    if (mode == DATABASE_LOOK)
        return 0;
    return database_run(database, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", err);
}

int database_open(struct database *database, const char *path, enum database_mode mode, struct error *err)
{
    struct stat status;
    *database = (struct database){ .path = xstrdup(path) };
    if (mode == DATABASE_MAKE && stat(path, &status) < 0 && make_file(path, err) < 0)
        return -1;
    if (check_is_file(path, err) < 0)
        return -1;
    /* No SQLITE_OPEN_CREATE: the file is there, and one that vanishes meanwhile is not made anew. */
    int code = sqlite3_open_v2(path, &database->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return database_fail(database, code, err);
    return configure(database, mode, err);
}

void database_close(struct database *database)
{
    sqlite3_close_v2(database->handle);
    free(database->path);
    *database = (struct database){ 0 };
}

/* --- statements ---------------------------------------------------------------------------------------------- */

int database_query(struct database *database, sqlite3_stmt **statement, const char *sql, const char *const *texts,
                   struct error *err)
{
    int code = sqlite3_prepare_v2(database->handle, sql, -1, statement, NULL);
    for (int i = 0; code == SQLITE_OK && texts && texts[i]; i++)
        code = sqlite3_bind_text(*statement, i + 1, texts[i], -1, SQLITE_STATIC);
    return code == SQLITE_OK ? 0 : database_fail(database, code, err);
}

int database_step(struct database *database, sqlite3_stmt *statement, struct error *err)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : database_fail(database, code, err);
}

int database_write(struct database *database, const char *sql, const char *const *texts, struct error *err)
{
    cleanup_statement sqlite3_stmt *statement = NULL;
    if (database_query(database, &statement, sql, texts, err) < 0 || database_step(database, statement, err) < 0)
        return -1;
    return sqlite3_changes(database->handle);
}

int database_run(struct database *database, const char *sql, struct error *err)
{
    int code = sqlite3_exec(database->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : database_fail(database, code, err);
}

int database_exists(struct database *database, const char *sql, const char *const *texts, struct error *err)
{
    cleanup_statement sqlite3_stmt *statement = NULL;
    if (database_query(database, &statement, sql, texts, err) < 0)
        return -1;
    return database_step(database, statement, err);
}

int database_begin(struct database *database, struct error *err)
{
    return database_run(database, "BEGIN IMMEDIATE", err);
}

int database_end(struct database *database, int result, struct error *err)
{
    if (result == 0)
        result = database_run(database, "COMMIT", err);
    if (result != 0 && !sqlite3_get_autocommit(database->handle))
        (void)sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

/* --- columns ------------------------------------------------------------------------------------------------- */

struct str column_str(sqlite3_stmt *statement, int index)
{
    const char *text = (const char *)sqlite3_column_text(statement, index);
    return str_of(text, text ? (size_t)sqlite3_column_bytes(statement, index) : 0);
}

char *column_dup(sqlite3_stmt *statement, int index)
{
    return str_dup(column_str(statement, index));
}
