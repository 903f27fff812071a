/* The `.env` file: no read past the end, names are plain and lie in the text, values hold no more than the text did. */
#include "fuzz.h"
#include "settings/environment.h"

struct seen {
    struct str text;
    size_t bytes;
};

static void check_variable(void *context, struct str name, char *value)
{
    struct seen *seen = context;
    ASSERT(name.len > 0 && fuzz_is_inside(name, seen->text));
    ASSERT(str_find_char(name, '=') == SIZE_MAX && !str_has_control(name));
    seen->bytes += name.len + strlen(value);
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_buf struct buf problems = { 0 }, warnings = { 0 };
    struct seen seen = { str_of((const char *)data, size), 0 };
    dotenv_parse(seen.text, check_variable, &seen, &problems, &warnings);
    ASSERT(seen.bytes <= size);
    return 0;
}
