/* The table of terminals: by key, and by name for what an engine tells about a container that is already gone and whose labels it
 * no longer knows. */
#include "fleet/internal.h"

#include "base/buf.h"

struct user_count {
    unsigned live;
};

char *table_key_bytes(const struct terminal_key *key, size_t *len)
{
    struct buf bytes = { 0 };
    bool fits = buf_append(&bytes, key->user_id, strlen(key->user_id) + 1) &&
                buf_append(&bytes, key->policy_id, strlen(key->policy_id) + 1) &&
                buf_append(&bytes, key->context_id, strlen(key->context_id));
    ASSERT(fits);
    *len = bytes.len;
    return buf_take(&bytes);
}

struct terminal *table_find(struct fleet *fleet, const struct terminal_key *key)
{
    size_t len;
    cleanup_free char *bytes = table_key_bytes(key, &len);
    return map_get(&fleet->by_key, str_of(bytes, len));
}

struct terminal *table_find_name(struct fleet *fleet, const char *name)
{
    return map_get(&fleet->by_name, str_from(name));
}

struct terminal *table_add(struct fleet *fleet, const struct terminal_key *key)
{
    char name[TERMINAL_NAME_SIZE];
    terminal_name(key, fleet->options.backend->ops->name_prefix, name);
    struct terminal *terminal = terminal_new(key, name);
    size_t len;
    cleanup_free char *bytes = table_key_bytes(key, &len);
    ASSERT(!map_put(&fleet->by_key, str_of(bytes, len), terminal));
    /* The original's container of another key may have this name: it keeps it as long as it is there. */
    if (!table_find_name(fleet, name))
        (void)map_put(&fleet->by_name, str_from(name), terminal);
    fleet->by_phase[TERMINAL_ABSENT]++;
    return terminal;
}

static void remove_name(struct fleet *fleet, const struct terminal *terminal)
{
    if (table_find_name(fleet, terminal->name) == terminal)
        (void)map_remove(&fleet->by_name, str_from(terminal->name));
}

void table_rename(struct fleet *fleet, struct terminal *terminal, const char *name)
{
    if (strcmp(terminal->name, name) != 0) {
        remove_name(fleet, terminal);
        free(terminal->name);
        terminal->name = xstrdup(name);
    }
    (void)map_put(&fleet->by_name, str_from(name), terminal);
}

void table_remove(struct fleet *fleet, struct terminal *terminal)
{
    size_t len;
    cleanup_free char *bytes = table_key_bytes(terminal->key, &len);
    (void)map_remove(&fleet->by_key, str_of(bytes, len));
    remove_name(fleet, terminal);
    fleet->by_phase[terminal->phase]--;
}

static bool text_matches(const char *wanted, const char *text)
{
    return !wanted || strcmp(wanted, text) == 0;
}

bool table_matches(const struct terminal *terminal, const struct terminal_filter *filter)
{
    return !filter || (text_matches(filter->user_id, terminal->key->user_id) &&
                       text_matches(filter->policy_id, terminal->key->policy_id) &&
                       text_matches(filter->context_id, terminal->key->context_id));
}

void table_count_live(struct fleet *fleet, const struct terminal *terminal, int change)
{
    struct str user = str_from(terminal->key->user_id);
    struct user_count *count = map_get(&fleet->live_by_user, user);
    if (!count) {
        count = xcalloc(1, sizeof *count);
        (void)map_put(&fleet->live_by_user, user, count);
    }
    count->live += (unsigned)change;
    if (count->live == 0)
        free(map_remove(&fleet->live_by_user, user));
}

unsigned table_live_of_user(struct fleet *fleet, const char *user_id)
{
    const struct user_count *count = map_get(&fleet->live_by_user, str_from(user_id));
    return count ? count->live : 0;
}

struct terminal *table_next(struct fleet *fleet, size_t *position)
{
    struct str key;
    void *terminal;
    return map_next(&fleet->by_key, position, &key, &terminal) ? terminal : NULL;
}
