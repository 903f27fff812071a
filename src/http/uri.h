/* Queries and paths of request targets. Pure functions, any thread. */
#ifndef HTTP_URI_H
#define HTTP_URI_H

#include "base/buf.h"

/* Steps through the `name=value` pairs of a query, still encoded. False at the end. */
bool query_next(struct str *rest, struct str *name, struct str *value);
/* Finds the parameter `name` (compared after decoding). Gives how many there are; the first one's value, decoded, goes to `value` (may hold any
 * bytes). SIZE_MAX when an escape in it is malformed. */
size_t query_find(struct str query, const char *name, struct buf *value);
/* Appends `text` percent-encoded: all but unreserved characters. */
void uri_encode(struct buf *out, struct str text);

#endif
