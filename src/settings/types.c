/* How each type of setting is read. A text that does not fit is refused with what is allowed; nothing is guessed. */
#include "settings/types.h"

#include <strings.h>

#include "base/json.h"
#include "base/secret.h"

static int run_check(const struct setting *setting, const char *text, struct error *err)
{
    return setting->check ? setting->check(text, err) : 0;
}

/* "a, b or c" of the row's choices; the caller frees. */
static char *list_choices(const struct setting *setting)
{
    cleanup_buf struct buf list = { 0 };
    for (size_t i = 0; setting->choices[i]; i++) {
        if (i > 0)
            buf_append_text(&list, setting->choices[i + 1] ? ", " : " or ");
        buf_append_text(&list, setting->choices[i]);
    }
    return buf_take(&list);
}

/* The position of `text` among the choices, or -1. */
static int read_choice(const struct setting *setting, const char *text, struct error *err)
{
    struct str wanted = str_trim(str_from(text));
    for (int i = 0; setting->choices[i]; i++)
        if (str_equal_nocase(wanted, str_from(setting->choices[i])))
            return i;
    cleanup_free char *list = list_choices(setting);
    return error_set(err, ERR_INVALID, "must be %s", list);
}

/* --- texts --------------------------------------------------------------------------------------------------- */

/* Wiped too: a database URL may hold a password. */
static void free_text(void *place)
{
    secret_free(*(char **)place);
}

static int read_text(const struct setting *setting, const char *text, void *place, struct error *err)
{
    cleanup_free char *trimmed = str_dup(str_trim(str_from(text)));
    if (setting->choices) {
        int choice = read_choice(setting, trimmed, err);
        if (choice < 0)
            return -1;
        *(char **)place = xstrdup(setting->choices[choice]);
        return 0;
    }
    if (run_check(setting, trimmed, err) < 0)
        return -1;
    *(char **)place = steal(&trimmed);
    return 0;
}

static int read_prose(const struct setting *setting, const char *text, void *place, struct error *err)
{
    if (run_check(setting, text, err) < 0)
        return -1;
    *(char **)place = xstrdup(text);
    return 0;
}

static int read_path(const struct setting *setting, const char *text, void *place, struct error *err)
{
    cleanup_free char *trimmed = str_dup(str_trim(str_from(text)));
    if (run_check(setting, trimmed, err) < 0)
        return -1;
    *(char **)place = path_normalise(trimmed);
    return *(char **)place ? 0 : error_set(err, ERR_INVALID, "is relative, and the working directory does not exist");
}

/* --- numbers ------------------------------------------------------------------------------------------------- */

static int read_bool(const struct setting *setting, const char *text, void *place, struct error *err)
{
    static const char *const words[] = { "false", "true", "0", "1", "no", "yes", "off", "on", "f", "t", "n", "y" };
    (void)setting;
    struct str word = str_trim(str_from(text));
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_equal_nocase(word, str_from(words[i]))) {
            *(bool *)place = i % 2 == 1;
            return 0;
        }
    return error_set(err, ERR_INVALID, "must be true or false (or 1, 0, yes, no, on, off)");
}

static int read_number(const struct setting *setting, struct str text, int64_t *number, struct error *err)
{
    if (str_to_i64(str_trim(text), number) && *number >= setting->min && *number <= setting->max)
        return 0;
    return error_set(err, ERR_INVALID, "must be a whole number from %lld to %lld", (long long)setting->min,
                     (long long)setting->max);
}

static int read_count(const struct setting *setting, const char *text, void *place, struct error *err)
{
    int64_t number;
    if (read_number(setting, str_from(text), &number, err) < 0)
        return -1;
    *(unsigned *)place = (unsigned)number;
    return 0;
}

static int read_integer(const struct setting *setting, const char *text, void *place, struct error *err)
{
    return read_number(setting, str_from(text), place, err);
}

/* The original takes fractions of seconds; ours are whole, and a limit is never shorter than asked for. */
static int read_seconds(const struct setting *setting, const char *text, void *place, struct error *err)
{
    struct str whole = str_trim(str_from(text));
    size_t point = str_find_char(whole, '.');
    int64_t number = -1, round_up = 0;
    bool fits = true;
    if (point != SIZE_MAX) {
        struct str fraction = str_skip(whole, point + 1);
        for (size_t i = 0; i < fraction.len; i++) {
            fits = fits && fraction.data[i] >= '0' && fraction.data[i] <= '9';
            round_up |= fraction.data[i] != '0';
        }
        whole.len = point;
    }
    if (!fits || !str_to_i64(whole, &number) || number < 0 || number + round_up < setting->min ||
        number + round_up > setting->max)
        return error_set(err, ERR_INVALID, "must be a number of seconds from %lld to %lld", (long long)setting->min,
                         (long long)setting->max);
    *(unsigned *)place = (unsigned)(number + round_up);
    return 0;
}

static int read_ignored(const struct setting *setting, const char *text, void *place, struct error *err)
{
    int64_t number;
    *(bool *)place = true;
    return read_number(setting, str_from(text), &number, err);
}

/* --- lists --------------------------------------------------------------------------------------------------- */

static void free_list(void *place)
{
    struct text_list *list = place;
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static void free_secret_list(void *place)
{
    struct text_list *list = place;
    for (size_t i = 0; i < list->count; i++)
        secret_free(steal(&list->items[i]));
    free_list(place);
}

static int read_list(const struct setting *setting, const char *text, void *place, struct error *err)
{
    struct text_list *list = place;
    struct str rest = str_from(text), part;
    while (str_next_part(&rest, ',', &part)) {
        struct str item = str_trim(part);
        if (item.len == 0)
            continue;
        list->items = xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
        list->items[list->count] = str_dup(item);
        list->count++;
        if (run_check(setting, list->items[list->count - 1], err) < 0)
            return -1;
    }
    if (list->count == 0)
        return error_set(err, ERR_INVALID, "holds nothing but commas and spaces");
    return 0;
}

/* --- by position --------------------------------------------------------------------------------------------- */

static int read_backend(const struct setting *setting, const char *text, void *place, struct error *err)
{
    int choice = read_choice(setting, text, err);
    if (choice < 0)
        return -1;
    *(enum backend_kind *)place = (enum backend_kind)choice;
    return 0;
}

static int read_log_format(const struct setting *setting, const char *text, void *place, struct error *err)
{
    int choice = read_choice(setting, text, err);
    if (choice < 0)
        return -1;
    *(bool *)place = choice == 1;
    return 0;
}

static int read_log_level(const struct setting *setting, const char *text, void *place, struct error *err)
{
    (void)setting, (void)err;
    cleanup_free char *trimmed = str_dup(str_trim(str_from(text)));
    if (!log_level_from_name(trimmed, place))
        *(enum log_level *)place = LOG_INFO;
    return 0;
}

/* --- JSON ---------------------------------------------------------------------------------------------------- */

static void free_json(void *place)
{
    json_decref(*(json_t **)place);
}

static int read_object(const struct setting *setting, const char *text, void *place, struct error *err)
{
    (void)setting;
    cleanup_json json_t *value = json_read(str_from(text), err);
    if (!value)
        return error_wrap(err, "must be a JSON object");
    if (!json_is_object(value))
        return error_set(err, ERR_INVALID, "must be a JSON object");
    *(json_t **)place = steal(&value);
    return 0;
}

/* "k=v,…" as a JSON object. */
static int read_pairs(const char *text, json_t *labels, struct error *err)
{
    struct str rest = str_from(text), part;
    while (str_next_part(&rest, ',', &part)) {
        struct str pair = str_trim(part);
        size_t equals = str_find_char(pair, '=');
        if (pair.len == 0)
            continue;
        if (equals == SIZE_MAX)
            return error_set(err, ERR_INVALID, "must be a list such as team=data,tier=gold");
        cleanup_free char *key = str_dup(str_trim(str_of(pair.data, equals)));
        cleanup_free char *value = str_dup(str_trim(str_skip(pair, equals + 1)));
        json_object_set_new(labels, key, json_string(value));
    }
    return 0;
}

static int check_labels(json_t *labels, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(labels, key, value) {
        if (!json_is_string(value))
            return error_set(err, ERR_INVALID, "the value of '%s' must be a text", key);
        if (check_label(key, json_string_value(value), err) < 0)
            return -1;
    }
    return 0;
}

static int read_labels(const struct setting *setting, const char *text, void *place, struct error *err)
{
    cleanup_json json_t *labels = NULL;
    struct str trimmed = str_trim(str_from(text));
    if (trimmed.len > 0 && trimmed.data[0] == '{') {
        if (read_object(setting, text, &labels, err) < 0)
            return -1;
    } else {
        labels = json_object();
        if (read_pairs(text, labels, err) < 0)
            return -1;
    }
    if (check_labels(labels, err) < 0)
        return -1;
    *(json_t **)place = steal(&labels);
    return 0;
}

static int read_tolerations(const struct setting *setting, const char *text, void *place, struct error *err)
{
    (void)setting;
    cleanup_json json_t *array = json_read(str_from(text), err);
    if (!array)
        return error_wrap(err, "must be a JSON array of tolerations");
    if (!json_is_array(array))
        return error_set(err, ERR_INVALID, "must be a JSON array of tolerations");
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_object(json_array_get(array, i)))
            return error_set(err, ERR_INVALID, "entry %zu is not an object", i);
    *(json_t **)place = steal(&array);
    return 0;
}

const struct setting_type type_text = { read_text, free_text, .blank_is_empty = true };
const struct setting_type type_prose = { read_prose, free_text };
const struct setting_type type_path = { read_path, free_text, .blank_is_empty = true };
const struct setting_type type_bool = { read_bool, NULL };
const struct setting_type type_count = { read_count, NULL };
const struct setting_type type_seconds = { read_seconds, NULL };
const struct setting_type type_integer = { read_integer, NULL };
const struct setting_type type_list = { read_list, free_list };
const struct setting_type type_secret_list = { read_list, free_secret_list };
const struct setting_type type_backend = { read_backend, NULL };
const struct setting_type type_log_format = { read_log_format, NULL };
const struct setting_type type_log_level = { read_log_level, NULL };
const struct setting_type type_object = { read_object, free_json };
const struct setting_type type_labels = { read_labels, free_json };
const struct setting_type type_tolerations = { read_tolerations, free_json };
const struct setting_type type_ignored = { read_ignored, NULL };
