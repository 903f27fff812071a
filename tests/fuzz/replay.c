/* Runs a fuzz target over kept inputs without a fuzzing engine: `replay FILE-OR-FOLDER...`. Each input gets memory of exactly its size, so that
 * AddressSanitizer sees a read past its end. */
#include <dirent.h>
#include <sys/stat.h>

#include "base/file.h"
#include "fuzz.h"

#define INPUT_LIMIT (1u << 20)

static unsigned replayed;

static void replay_file(const char *path)
{
    struct error err = { 0 };
    cleanup_free char *data = NULL;
    size_t len = 0;

    if (file_read(path, INPUT_LIMIT, &data, &len, &err) < 0) {
        fprintf(stderr, "%s: %s\n", path, err.text);
        exit(2);
    }
    cleanup_free uint8_t *exact = xmalloc(len ? len : 1);
    memcpy(exact, data, len);
    (void)LLVMFuzzerTestOneInput(exact, len);
    replayed++;
}

static void replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        cleanup_free char *inside = xasprintf("%s/%s", path, entries[i]->d_name);
        struct stat info;
        if (stat(inside, &info) == 0 && S_ISREG(info.st_mode))
            replay_file(inside);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode))
            replay_folder(argv[i]);
        else
            replay_file(argv[i]);
    }
    printf("%u inputs\n", replayed);
    return replayed > 0 ? 0 : 1;
}
