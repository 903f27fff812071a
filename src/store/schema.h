/* The tables, inside this module. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/database.h"

/* Brings the database to the head in one transaction, from whatever of the original's earlier shapes it has; refuses
 * one that is newer than we are or another program's. */
int schema_upgrade(struct database *database, struct error *err) MUST_CHECK;
/* The recorded revision, "" when there is none. The caller frees. */
int schema_read_revision(struct database *database, char **revision, struct error *err) MUST_CHECK;
int schema_write_revision(struct database *database, const char *revision, struct error *err) MUST_CHECK;

#endif
