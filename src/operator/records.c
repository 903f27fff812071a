/* The table of records. */
#include "operator/internal.h"

static char *key_of(const char *namespace, const char *name) { return xasprintf("%s/%s", namespace, name); }

struct record *records_find(struct operator *operator, const char *namespace, const char *name)
{
    cleanup_free char *key = key_of(namespace, name);

    return map_get(&operator->records, str_from(key));
}

struct record *records_find_or_add(struct operator *operator, const char *namespace, const char *name)
{
    cleanup_free char *key = key_of(namespace, name);
    struct record *record = map_get(&operator->records, str_from(key));

    if (!record) {
        record = record_new(namespace, name);
        (void)map_put(&operator->records, str_from(key), record);
    }
    return record;
}

struct record *records_next(struct operator *operator, size_t *position)
{
    struct str key;
    void *record;

    return map_next(&operator->records, position, &key, &record) ? record : NULL;
}

void records_add_all_to_queue(struct operator *operator)
{
    WITH_LOCK(operator);
    size_t position = 0;
    for (struct record *record; (record = records_next(operator, &position));)
        workqueue_add(operator->queue, &record->work);
}

/* Out of the table first, so that nobody finds it; then out of the queue, which waits for a thread that may still be at it. */
static struct record *take_empty(struct operator *operator)
{
    WITH_LOCK(operator);
    size_t position = 0;
    for (struct record *record; (record = records_next(operator, &position));) {
        if (!record_is_empty(record))
            continue;
        cleanup_free char *key = key_of(record->namespace, record->name);
        return map_remove(&operator->records, str_from(key));
    }
    return NULL;
}

void records_forget_empty(struct operator *operator)
{
    struct record *record;

    while ((record = take_empty(operator))) {
        workqueue_remove(operator->queue, &record->work);
        record_free(record);
    }
}

static void free_record(void *record) { record_free(record); }

void records_free(struct operator *operator) { map_free(&operator->records, free_record); }
