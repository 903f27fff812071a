/* The store's object and what its files share, inside this module. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>

#include "base/json.h"
#include "store/database.h"
#include "store/store.h"

struct store {
    pthread_mutex_t lock;
    struct database database;       /* under `lock` */
};

/* Holds the lock until the end of the block. Declare it before any statement, which must be finalized first. */
#define HOLD_STORE(store) \
    __attribute__((cleanup(store_release), unused)) struct store *held_store_ = store_hold(store)
struct store *store_hold(struct store *store);
void store_release(struct store **place);

/* "YYYY-MM-DD HH:MM:SS.ffffff", UTC, as SQLAlchemy writes DATETIME. */
#define STORE_TIME_SIZE 28
void store_time_now(char out[static STORE_TIME_SIZE]);
/* A time as the database has it, with or without fraction, as "YYYY-MM-DD HH:MM:SS.ffffff+00:00"; the caller frees. */
char *store_time_shown(struct str text) MUST_CHECK;

/* The JSON object in column `index`, which any program may have written; NULL and why when it is none. The caller owns it. */
json_t *column_object(sqlite3_stmt *statement, int index, struct error *why) MUST_CHECK;

#endif
