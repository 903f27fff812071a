/* Database URLs as SQLAlchemy writes them, inside this module. */
#ifndef STORE_URL_H
#define STORE_URL_H

#include "base/error.h"

/* The path of the SQLite file that `url` names; NULL or "" names `state_dir`/terminals.db. Relative paths start at the
 * working directory, as in the original. ERR_INVALID for every other database. The caller frees. */
char *store_url_path(const char *url, const char *state_dir, struct error *err) MUST_CHECK;

#endif
