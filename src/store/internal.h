/* The store's object and what its files share, inside this module. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>

#include "base/json.h"
#include "store/database.h"
#include "store/store.h"

struct connection {
    pthread_mutex_t lock;
    struct database database;       /* under `lock` */
};

/* What only reads has a connection of its own: it sees what was committed, and waits neither for our writers nor for another program's. */
struct store {
    struct connection writer, reader;
};

/* Holds the connection until the end of the block, and gives its database the name `database`. Declare it before any statement, which
 * must be finalized first. */
#define HOLD_CONNECTION(which) \
    __attribute__((cleanup(connection_release), unused)) struct connection *held_connection_ = connection_hold(which); \
    struct database *database = &held_connection_->database
struct connection *connection_hold(struct connection *connection);
void connection_release(struct connection **place);

/* "YYYY-MM-DD HH:MM:SS.ffffff", UTC, as SQLAlchemy writes DATETIME. */
#define STORE_TIME_SIZE 28
void store_time_now(char out[static STORE_TIME_SIZE]);
/* A time as the database has it, with or without fraction, as "YYYY-MM-DD HH:MM:SS.ffffff+00:00"; the caller frees. */
char *store_time_shown(struct str text) MUST_CHECK;

/* The JSON object in column `index`, which any program may have written; NULL and why when it is none. The caller owns it. */
json_t *column_object(sqlite3_stmt *statement, int index, struct error *why) MUST_CHECK;

#endif
