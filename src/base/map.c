/* A hash map with chained buckets. An entry holds its hash and a copy of its key in one allocation; an array of all entries
 * beside the buckets serves stepping. */
#include "base/map.h"

#include <pthread.h>

#include "base/random.h"

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t slot;            /* in map->entries */
    size_t key_len;
    char key[];
};

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void) { random_bytes(seed, sizeof seed); }

static inline uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32);
    v[2] += v[3]; v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3]; v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1]; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32);
}

uint64_t hash_bytes(const void *data, size_t len)
{
    pthread_once(&seed_once, make_seed);
    uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                      seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u };
    const unsigned char *bytes = data;
    uint64_t word;
    size_t left = len;
    for (; left >= 8; left -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct map_entry **find(const struct map *map, struct str key, uint64_t hash)
{
    struct map_entry **place = &map->buckets[hash & (map->bucket_count - 1)];
    while (*place) {
        struct map_entry *entry = *place;
        if (entry->hash == hash && str_equal(str_of(entry->key, entry->key_len), key))
            return place;
        place = &entry->next;
    }
    return place;
}

static void resize(struct map *map, size_t bucket_count)
{
    struct map_entry **buckets = xcalloc(bucket_count, sizeof *buckets);
    for (size_t i = 0; i < map->bucket_count; i++) {
        for (struct map_entry *entry = map->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            struct map_entry **place = &buckets[entry->hash & (bucket_count - 1)];
            entry->next = *place;
            *place = entry;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->bucket_count = bucket_count;
    map->entries = xrealloc(map->entries, bucket_count * sizeof(struct map_entry *));
}

void *map_get(const struct map *map, struct str key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry *entry = *find(map, key, hash_bytes(key.data, key.len));
    return entry ? entry->value : NULL;
}

void *map_put(struct map *map, struct str key, void *value)
{
    ASSERT(value);
    if (map->count >= map->bucket_count)
        resize(map, map->bucket_count ? map->bucket_count * 2 : 16);
    uint64_t hash = hash_bytes(key.data, key.len);
    struct map_entry **place = find(map, key, hash);
    if (*place) {
        void *old = (*place)->value;
        (*place)->value = value;
        return old;
    }
    struct map_entry *entry = xmalloc(sizeof *entry + key.len);
    *entry = (struct map_entry){ .hash = hash, .value = value, .slot = map->count, .key_len = key.len };
    if (key.len > 0)
        memcpy(entry->key, key.data, key.len);
    *place = entry;
    map->entries[map->count++] = entry;
    return NULL;
}

void *map_remove(struct map *map, struct str key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry **place = find(map, key, hash_bytes(key.data, key.len));
    struct map_entry *entry = *place;
    if (!entry)
        return NULL;
    void *value = entry->value;
    *place = entry->next;
    struct map_entry *last = map->entries[--map->count];
    map->entries[entry->slot] = last;
    last->slot = entry->slot;
    free(entry);
    return value;
}

/* Entries are visited from the last slot down: removing the current one moves an entry that was visited already into its slot. */
bool map_next(const struct map *map, size_t *position, struct str *key, void **value)
{
    size_t after = *position ? *position - 1 : map->count;
    if (after == 0)
        return false;
    const struct map_entry *entry = map->entries[after - 1];
    *position = after;
    if (key)
        *key = str_of(entry->key, entry->key_len);
    if (value)
        *value = entry->value;
    return true;
}

void map_free(struct map *map, void (*free_value)(void *value))
{
    for (size_t i = 0; i < map->count; i++) {
        if (free_value)
            free_value(map->entries[i]->value);
        free(map->entries[i]);
    }
    free(map->entries);
    free(map->buckets);
    *map = (struct map){ 0 };
}
