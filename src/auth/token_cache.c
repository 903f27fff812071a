/* A map for finding and two lists for throwing out, the oldest entry first in each. */
#include "auth/token_cache.h"

#include "base/list.h"
#include "base/map.h"

#define MAX_ACCEPTED 10000
#define MAX_REFUSED 1000

struct entry {
    struct list node;
    unsigned char digest[TOKEN_DIGEST_LEN];
    int64_t expires_ms;
    char *user_id, *email, *role;       /* `user_id` NULL: refused */
};

struct queue {
    struct list entries;
    size_t count, max;
};

struct token_cache {
    struct map by_digest;
    struct queue accepted, refused;
};

struct token_cache *token_cache_new(void)
{
    struct token_cache *cache = xcalloc(1, sizeof(*cache));

    list_init(&cache->accepted.entries);
    list_init(&cache->refused.entries);
    cache->accepted.max = MAX_ACCEPTED;
    cache->refused.max = MAX_REFUSED;
    return cache;
}

static struct queue *queue_of(struct token_cache *cache, const struct entry *entry)
{
    return entry->user_id ? &cache->accepted : &cache->refused;
}

static void drop(struct token_cache *cache, struct entry *entry)
{
    queue_of(cache, entry)->count--;
    list_remove(&entry->node);
    (void)map_remove(&cache->by_digest, str_of((const char *)entry->digest, TOKEN_DIGEST_LEN));
    free(entry->user_id);
    free(entry->email);
    free(entry->role);
    free(entry);
}

void token_cache_clear(struct token_cache *cache)
{
    struct queue *const queues[] = { &cache->accepted, &cache->refused };

    for (size_t i = 0; i < COUNT_OF(queues); i++)
        while (!list_is_empty(&queues[i]->entries))
            drop(cache, LIST_ENTRY(list_first(&queues[i]->entries), struct entry, node));
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    token_cache_clear(cache);
    map_free(&cache->by_digest, NULL);
    free(cache);
}

static void fill_identity(struct identity *identity, const struct entry *entry)
{
    *identity = (struct identity){ .trusted = false };
    (void)snprintf(identity->user_id, sizeof(identity->user_id), "%s", entry->user_id);
    (void)snprintf(identity->email, sizeof(identity->email), "%s", entry->email);
    (void)snprintf(identity->role, sizeof(identity->role), "%s", entry->role);
}

enum token_cache_answer token_cache_find(struct token_cache *cache, const unsigned char digest[static TOKEN_DIGEST_LEN],
                                         int64_t now_ms, struct identity *identity)
{
    struct entry *entry = map_get(&cache->by_digest, str_of((const char *)digest, TOKEN_DIGEST_LEN));

    if (!entry)
        return TOKEN_UNKNOWN;
    if (entry->expires_ms <= now_ms) {
        drop(cache, entry);
        return TOKEN_UNKNOWN;
    }
    if (!entry->user_id)
        return TOKEN_REFUSED;
    fill_identity(identity, entry);
    return TOKEN_ACCEPTED;
}

void token_cache_put(struct token_cache *cache, const unsigned char digest[static TOKEN_DIGEST_LEN],
                     const struct identity *identity, int64_t expires_ms)
{
    struct str key = str_of((const char *)digest, TOKEN_DIGEST_LEN);
    struct entry *old = map_get(&cache->by_digest, key), *entry = xcalloc(1, sizeof(*entry));
    struct queue *queue;

    if (old)
        drop(cache, old);
    memcpy(entry->digest, digest, TOKEN_DIGEST_LEN);
    entry->expires_ms = expires_ms;
    if (identity) {
        entry->user_id = xstrdup(identity->user_id);
        entry->email = xstrdup(identity->email);
        entry->role = xstrdup(identity->role);
    }
    queue = queue_of(cache, entry);
    if (queue->count == queue->max)
        drop(cache, LIST_ENTRY(list_first(&queue->entries), struct entry, node));
    list_append(&queue->entries, &entry->node);
    queue->count++;
    (void)map_put(&cache->by_digest, key, entry);
}
