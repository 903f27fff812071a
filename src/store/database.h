/* A thin layer over sqlite3, inside this module: texts go in and come out, errors become sentences that say what to do.
 * A database belongs to one thread at a time; the store's locks see to that. A lock of another program is waited for at most 5 s, and once
 * that was in vain, for the next 5 s only briefly: who queued up behind the first must not wait as long again, one after another. */
#ifndef STORE_DATABASE_H
#define STORE_DATABASE_H

#include <sqlite3.h>

#include "base/error.h"
#include "base/str.h"

struct database {
    sqlite3 *handle;
    char *path;                     /* owned, for messages */
    int64_t gave_up_ms;             /* monotonic: when a wait for another program's lock was last in vain; 0: never */
};

enum database_mode {
    DATABASE_MAKE,                  /* made if missing, with mode 0600; write-ahead log */
    DATABASE_LOOK,                  /* must exist; nothing about it is changed */
};

/* `database` must stay where it is until it is closed. */
int database_open(struct database *database, const char *path, enum database_mode mode, struct error *err) MUST_CHECK;
/* Whether the file, or its place where it is missing, can be written, and files beside it; nothing is opened. ERR_NOT_FOUND when the
 * directory is missing. */
int database_check_writable(const char *path, struct error *err) MUST_CHECK;
/* A closed or zeroed one is allowed. */
void database_close(struct database *database);
#define cleanup_database __attribute__((cleanup(database_close)))

static inline void statement_finalize(sqlite3_stmt **place) { sqlite3_finalize(*place); }
#define cleanup_statement __attribute__((cleanup(statement_finalize)))

/* The texts bound to ?1, ?2, …: database_query(…, TEXTS(id, data), …). They must outlive the statement. */
#define TEXTS(...) (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL }

/* Prepares and binds; the caller finalizes `*statement`. */
int database_query(struct database *database, sqlite3_stmt **statement, const char *sql, const char *const *texts,
                   struct error *err) MUST_CHECK;
/* 1: a row is there; 0: no more; -1: failed (ERR_CONFLICT for a violated constraint). */
int database_step(struct database *database, sqlite3_stmt *statement, struct error *err) MUST_CHECK;
/* Runs one statement that gives no rows. Returns how many rows it changed. */
int database_write(struct database *database, const char *sql, const char *const *texts, struct error *err) MUST_CHECK;
/* Runs statements separated by ';'. */
int database_run(struct database *database, const char *sql, struct error *err) MUST_CHECK;
/* 1: the query gives a row; 0: it does not. */
int database_exists(struct database *database, const char *sql, const char *const *texts, struct error *err) MUST_CHECK;

/* Takes the write lock at once, so that nothing inside can find the database locked. */
int database_begin(struct database *database, struct error *err) MUST_CHECK;
/* Commits when `result` is 0, else undoes everything. Returns `result`, or -1 when the commit fails. */
int database_end(struct database *database, int result, struct error *err) MUST_CHECK;

/* Column `index` of the current row: a copy that the caller frees ("" for NULL), or the bytes, valid until the next step. */
char *column_dup(sqlite3_stmt *statement, int index) MUST_CHECK;
struct str column_str(sqlite3_stmt *statement, int index);

#endif
