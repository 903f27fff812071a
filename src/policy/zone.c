/* A zone is a list of moments at which its offset changed, and a rule for the time after the last of them.
 *
 * The file has two parts: one with 32-bit times, which is skipped where the other with 64-bit times follows, and the rule as text
 * between two newlines. */
#include "policy/zone.h"

#include "base/buf.h"
#include "policy/civil.h"
#include "policy/posix_zone.h"

#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define ZONE_FILE_MAX (1 << 20)
#define HEADER_LEN 44
#define TYPE_LEN 6

struct zone {
    int64_t *times;             /* ascending UTC seconds */
    int32_t *offsets;           /* offsets[i] holds from times[i] on */
    size_t count;
    int32_t first_offset;       /* before times[0] */
    bool has_rule;
    struct posix_zone rule;
};

void zone_free(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->times);
    free(zone->offsets);
    free(zone);
}

static inline void cleanup_zone_pointer(struct zone **place) { zone_free(*place); }
#define cleanup_zone __attribute__((cleanup(cleanup_zone_pointer)))

/* --- the file ------------------------------------------------------------------------------------------------ */

struct header {
    unsigned version;
    size_t ut_count, standard_count, leap_count, time_count, type_count, char_count;
};

static uint32_t read_u32(const char *from)
{
    const unsigned char *bytes = (const unsigned char *)from;

    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int64_t read_time(const char *from, size_t size)
{
    if (size == 4)
        return (int32_t)read_u32(from);
    return (int64_t)((uint64_t)read_u32(from) << 32 | read_u32(from + 4));
}

static bool read_header(struct str data, struct header *header)
{
    if (data.len < HEADER_LEN || memcmp(data.data, "TZif", 4) != 0)
        return false;
    header->version = (unsigned char)data.data[4];
    header->ut_count = read_u32(data.data + 20);
    header->standard_count = read_u32(data.data + 24);
    header->leap_count = read_u32(data.data + 28);
    header->time_count = read_u32(data.data + 32);
    header->type_count = read_u32(data.data + 36);
    header->char_count = read_u32(data.data + 40);
    return header->type_count > 0;
}

/* Bytes of the block that follows the header. */
static size_t block_len(const struct header *header, size_t time_size)
{
    return header->time_count * (time_size + 1) + header->type_count * TYPE_LEN + header->char_count
        + header->leap_count * (time_size + 4) + header->standard_count + header->ut_count;
}

static bool read_block(struct zone *zone, const struct header *header, struct str block, size_t time_size)
{
    const char *indexes, *types;

    if (block.len < block_len(header, time_size))
        return false;
    indexes = block.data + header->time_count * time_size;
    types = indexes + header->time_count;
    zone->count = header->time_count;
    zone->times = xcalloc(zone->count + 1, sizeof(*zone->times));
    zone->offsets = xcalloc(zone->count + 1, sizeof(*zone->offsets));
    zone->first_offset = (int32_t)read_u32(types);
    for (size_t i = 0; i < zone->count; i++) {
        unsigned char type = (unsigned char)indexes[i];

        zone->times[i] = read_time(block.data + i * time_size, time_size);
        if (type >= header->type_count || (i > 0 && zone->times[i] <= zone->times[i - 1]))
            return false;
        zone->offsets[i] = (int32_t)read_u32(types + type * TYPE_LEN);
    }
    return true;
}

/* "\n<rule>\n"; an empty rule is allowed. */
static bool read_footer(struct zone *zone, struct str footer)
{
    size_t end;

    if (footer.len < 2 || footer.data[0] != '\n')
        return false;
    footer = str_skip(footer, 1);
    end = str_find_char(footer, '\n');
    if (end == SIZE_MAX)
        return false;
    zone->has_rule = end > 0;
    return end == 0 || posix_zone_parse(str_of(footer.data, end), &zone->rule);
}

static bool offsets_are_sane(const struct zone *zone)
{
    /* Less than a day: zone_local_to_utc() relies on it. */
    const int32_t limit = DAY_SECONDS - 1;
    bool sane = zone->first_offset > -limit && zone->first_offset < limit;

    for (size_t i = 0; i < zone->count; i++)
        sane &= zone->offsets[i] > -limit && zone->offsets[i] < limit;
    return sane && zone->rule.standard > -limit && zone->rule.standard < limit && zone->rule.daylight > -limit
        && zone->rule.daylight < limit;
}

struct zone *zone_parse(struct str data)
{
    cleanup_zone struct zone *zone = xcalloc(1, sizeof(*zone));
    struct header header;
    size_t time_size = 4;

    if (!read_header(data, &header))
        return NULL;
    if (header.version >= '2') {
        time_size = 8;
        data = str_skip(data, HEADER_LEN + block_len(&header, 4));
        if (!read_header(data, &header))
            return NULL;
    }
    data = str_skip(data, HEADER_LEN);
    /* Files that count leap seconds have another clock than ours. */
    if (header.leap_count > 0 || !read_block(zone, &header, data, time_size))
        return NULL;
    if (time_size == 8 && !read_footer(zone, str_skip(data, block_len(&header, time_size))))
        return NULL;
    return offsets_are_sane(zone) ? steal(&zone) : NULL;
}

/* --- loading ------------------------------------------------------------------------------------------------- */

/* Parts of letters, digits, '_', '+' and '-', joined by '/': nothing that leads out of the directory. */
static bool name_is_plain(struct str name)
{
    struct str rest = name, part;

    if (name.len > 64)
        return false;
    while (str_next_part(&rest, '/', &part)) {
        if (part.len == 0)
            return false;
        for (size_t i = 0; i < part.len; i++) {
            char c = part.data[i], lower = (char)(c | 0x20);

            if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '+' && c != '-')
                return false;
        }
    }
    return true;
}

static bool read_zone_file(const char *name, struct buf *data)
{
    cleanup_free char *path = xasprintf("%s/%s", ZONE_DIRECTORY, name);
    cleanup_file FILE *file = fopen(path, "re");
    size_t got;

    if (!file)
        return false;
    data->limit = ZONE_FILE_MAX;
    do {
        char *room = buf_reserve(data, 4096);

        if (!room)
            return false;
        got = fread(room, 1, 4096, file);
        data->len += got;
    } while (got > 0);
    return !ferror(file);
}

struct zone *zone_load(const char *name, struct error *err)
{
    cleanup_buf struct buf data = { 0 };
    struct zone *zone = NULL;

    if (!name || !name[0] || strcmp(name, "UTC") == 0)
        return xcalloc(1, sizeof(*zone));
    if (name_is_plain(str_from(name)) && read_zone_file(name, &data))
        zone = zone_parse(buf_str(&data));
    if (!zone)
        error_set(err, ERR_INVALID, "Unknown time zone '%s'", name);
    return zone;
}

/* --- offsets ------------------------------------------------------------------------------------------------- */

int32_t zone_offset_at(const struct zone *zone, int64_t utc)
{
    size_t low = 0, high = zone->count;

    if (zone->has_rule && (zone->count == 0 || utc >= zone->times[zone->count - 1]))
        return posix_zone_offset_at(&zone->rule, utc);
    /* The number of changes up to `utc`. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (zone->times[middle] <= utc)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? zone->first_offset : zone->offsets[low - 1];
}

/* The first moment in (`low`, `high`] at which the offset is no longer `before`. */
static int64_t find_change(const struct zone *zone, int64_t low, int64_t high, int32_t before)
{
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        if (zone_offset_at(zone, middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}

int64_t zone_local_to_utc(const struct zone *zone, int64_t local)
{
    /* Offsets are below a day, so these two are the ones before and after any change near. */
    int32_t before = zone_offset_at(zone, local - DAY_SECONDS), after = zone_offset_at(zone, local + DAY_SECONDS);
    int64_t with_before = local - before, with_after = local - after;
    bool before_fits = zone_offset_at(zone, with_before) == before, after_fits = zone_offset_at(zone, with_after) == after;

    if (before_fits && after_fits)
        return with_before < with_after ? with_before : with_after;
    if (before_fits || after_fits)
        return before_fits ? with_before : with_after;
    return find_change(zone, with_after < with_before ? with_after : with_before - DAY_SECONDS, with_before, before);
}
