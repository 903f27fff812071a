/* What the tests against a real engine share: an observer that remembers, short ways to make a backend and a spec, and raw calls to the engine
 * to set up and to look. Every terminal belongs to a user whose id begins with test_user(), which differs from process to process, so that
 * runs side by side on one engine do not meet; all of theirs is removed at the end, and what runs that broke off left behind at the begin. */
#ifndef TESTS_ENGINE_SUPPORT_H
#define TESTS_ENGINE_SUPPORT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/docker/parts.h"

#define TEST_PREFIX "engine-test-"
#define STALE_AFTER_S 900

/* "engine-test-<process>-" */
const char *test_user(void);

struct seen {
    enum observed_phase phase;
    enum error_class failure;
    struct endpoint endpoint;
    char id[80], guest_key[80], spec_hash[80], image[128], message[256], user_id[64];
    unsigned count;
};

struct recorder {
    struct observer observer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct map seen;                    /* name → struct seen */
    unsigned listings;
    bool reachable, unreachable_once;
    char why[256];
};

/* A backend with its watch running. */
struct bench {
    struct settings settings;
    struct backend *backend;
    struct recorder recorder;
    struct engine *engine;              /* for the test's own looks */
    pthread_t watcher;
};

/* `settings` (may be NULL) is copied; what is not set gets the defaults. Waits for the first listing unless the engine is not reachable. */
void bench_open(struct bench *bench, const struct settings *settings);
void bench_close(struct bench *bench);
const char *test_image(void);

/* A spec for the key, with the test image; free the key. */
struct terminal_spec spec_for(struct terminal_key *key);
struct terminal_key *test_key(const char *suffix, const char *policy, const char *context);
/* The name of the key's container, in a static buffer of the thread. */
const char *name_of(const struct terminal_key *key);

/* Waits up to 20 s until the terminal was last seen in this phase; false otherwise. `*seen` (may be NULL) gets a copy. */
bool wait_for_phase(struct bench *bench, const char *name, enum observed_phase phase, struct seen *seen);
/* Calls the guest; gives the status, 0 when there is no answer. `answer` may be NULL. */
int guest_call(const struct seen *seen, const char *method, const char *path, const char *body, char **answer);
bool guest_becomes_healthy(const struct seen *seen);

/* Starts and waits until the guest answers; fails the test otherwise. */
void must_start(struct bench *bench, const struct terminal_spec *spec, struct seen *seen);
void must_stop(struct bench *bench, const struct terminal_key *key);

/* The engine, directly: status, and the answer's JSON (owned) unless `json` is NULL. */
int engine_raw(struct bench *bench, const char *method, const char *path, json_t *body_taken, json_t **json);
json_t *inspect_now(struct bench *bench, const char *name);
bool volume_exists(struct bench *bench, const struct terminal_key *key);
/* Removes every container, volume and network of this process's users, and of all test users where it is older than STALE_AFTER_S. */
void clean_up(struct engine *engine);

#endif
