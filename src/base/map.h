/* Hash map from bytes to pointers. Keys are copied; values are the caller's. Hashing is keyed with a random
 * number per process, so that clients cannot choose colliding keys. No locking of its own. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map {
    struct map_entry **buckets;
    struct map_entry **entries;
    size_t bucket_count;
    size_t count;
};

/* Zero-initialised is empty. */
void *map_get(const struct map *map, struct str key);
/* Puts `value` (not NULL) under `key`; gives back the value that it replaced, or NULL. */
void *map_put(struct map *map, struct str key, void *value);
/* Takes the entry out and gives its value, or NULL. */
void *map_remove(struct map *map, struct str key);
/* Steps through all entries in no order: start with `*position` 0; false at the end. The current entry may be
 * removed while stepping; others may not change. */
bool map_next(const struct map *map, size_t *position, struct str *key, void **value);
/* Frees the map; `free_value` (may be NULL) is called for each value. */
void map_free(struct map *map, void (*free_value)(void *value));

/* SipHash-1-3 under this process's random key. */
uint64_t hash_bytes(const void *data, size_t len);

#endif
