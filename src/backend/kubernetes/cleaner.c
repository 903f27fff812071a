/* What the pods that empty homes on a shared volume have to be like. A claim of its own has that in an annotation; the shared one has no room for all its homes, so
 * it is noted here at each start, for as many as were started last. Without a note a home is emptied as the settings say, as after a restart of ours. */
#include "backend/kubernetes/parts.h"

#include "base/clock.h"

struct note {
    int64_t noted_ms;                   /* monotonic */
    char text[];
};

/* (locked) */
static void drop_oldest(struct kubernetes *k)
{
    struct str name, oldest = { 0 };
    int64_t oldest_ms = INT64_MAX;
    size_t position = 0;
    void *value;

    while (map_next(&k->cleaners, &position, &name, &value)) {
        const struct note *note = value;
        if (note->noted_ms < oldest_ms) {
            oldest_ms = note->noted_ms;
            oldest = name;
        }
    }
    free(map_remove(&k->cleaners, oldest));
}

void cleaner_note(struct kubernetes *k, const char *name, const json_t *cleaner)
{
    cleanup_free char *text = json_write(cleaner);
    size_t size = strlen(text) + 1;
    struct note *note = xcalloc(1, sizeof(*note) + size);

    note->noted_ms = clock_monotonic_ms();
    memcpy(note->text, text, size);
    WITH_PICTURE(k);
    free(map_put(&k->cleaners, str_from(name), note));
    if (k->cleaners.count > CLEANERS_MAX)
        drop_oldest(k);
}

char *cleaner_noted(struct kubernetes *k, const char *name)
{
    WITH_PICTURE(k);
    const struct note *note = map_get(&k->cleaners, str_from(name));
    return note ? xstrdup(note->text) : NULL;
}

bool cleaner_is_noted(struct kubernetes *k, const char *name)
{
    WITH_PICTURE(k);
    return map_get(&k->cleaners, str_from(name)) != NULL;
}
