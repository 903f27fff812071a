/* Informers against a real API server that restarts, forgets its history and goes away: the picture that a handler keeps is right in the end. Needs CLUSTER: these
 * tests restart daemons. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "kubernetes/informer.h"
#include "kubernetes/request.h"

/* What a handler would keep: the names that are there. */
struct picture {
    pthread_mutex_t lock;
    struct map names;               /* name → the listing that saw it last */
    uintptr_t listing;
    unsigned listings, failures, recoveries;
};

static void see_begin(void *context)
{
    struct picture *picture = context;

    pthread_mutex_lock(&picture->lock);
    picture->listing++;
    pthread_mutex_unlock(&picture->lock);
}

static void see_object(void *context, const json_t *object, bool deleted)
{
    struct picture *picture = context;
    struct str name = str_from(kube_name(object));

    pthread_mutex_lock(&picture->lock);
    if (deleted)
        map_remove(&picture->names, name);
    else
        map_put(&picture->names, name, (void *)(picture->listing + 1));
    pthread_mutex_unlock(&picture->lock);
}

static void see_end(void *context)
{
    struct picture *picture = context;
    size_t position = 0;
    struct str name;
    void *seen;

    pthread_mutex_lock(&picture->lock);
    picture->listings++;
    while (map_next(&picture->names, &position, &name, &seen)) {
        if ((uintptr_t)seen != picture->listing + 1)
            map_remove(&picture->names, name);
    }
    pthread_mutex_unlock(&picture->lock);
}

static void see_reachable(void *context, const struct error *err)
{
    struct picture *picture = context;

    pthread_mutex_lock(&picture->lock);
    picture->failures += err != NULL;
    picture->recoveries += err == NULL;
    pthread_mutex_unlock(&picture->lock);
}

static const struct kube_handler handler = { see_begin, see_object, see_end, see_reachable };

/* Locked reads for the tests' waits. */
struct expectation {
    struct picture *picture;
    size_t count;
    unsigned listings, failures, recoveries;
};

static bool is_as_expected(void *context)
{
    const struct expectation *wanted = context;
    struct picture *picture = wanted->picture;

    pthread_mutex_lock(&picture->lock);
    bool so = picture->names.count == wanted->count && picture->listings >= wanted->listings && picture->failures >= wanted->failures &&
              picture->recoveries >= wanted->recoveries;
    pthread_mutex_unlock(&picture->lock);
    return so;
}

static void expect(struct expectation wanted)
{
    if (support_wait(is_as_expected, &wanted))
        return;
    fail_msg("%zu objects, %u listings, %u failures, %u recoveries; wanted %zu, %u, %u, %u", wanted.picture->names.count,
             wanted.picture->listings, wanted.picture->failures, wanted.picture->recoveries, wanted.count, wanted.listings, wanted.failures,
             wanted.recoveries);
}

static void make(const char *name, const char *label)
{
    struct error err = { 0 };
    struct kube_client *client = support_client(NULL);
    cleanup_json json_t *secret = support_secret(name, label);

    OK(kube_create(client, &KUBE_SECRETS, support_namespace, secret, NULL, &err));
    kube_client_free(client);
}

static void drop(const char *name)
{
    struct error err = { 0 };
    struct kube_client *client = support_client(NULL);

    OK(kube_delete(client, &KUBE_SECRETS, support_namespace, name, NULL, &err));
    kube_client_free(client);
}

static void wait_for_apiserver(void)
{
    free(support_shell("for i in $(seq 300); do kubectl get --raw /readyz >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"));
}

static void the_picture_follows_what_happens(void **state)
{
    struct kube_client *client = support_client(NULL);
    struct picture picture = { .lock = PTHREAD_MUTEX_INITIALIZER };
    make("before", "follow");
    struct kube_informer *informer = kube_informer_start(client, &KUBE_SECRETS, support_namespace, "test=follow", &handler, &picture);

    expect((struct expectation){ &picture, 1, 1, 0, 1 });
    assert_true(kube_informer_synced(informer));
    make("after", "follow");
    make("unrelated", "other");
    expect((struct expectation){ &picture, 2, 1, 0, 1 });
    drop("before");
    drop("after");
    expect((struct expectation){ &picture, 0, 1, 0, 1 });
    assert_int_equal(picture.listings, 1);
    kube_informer_stop(informer);
    map_free(&picture.names, NULL);
    kube_client_free(client);
}

/* A broken connection alone costs no listing: the version still holds. */
static void a_server_that_goes_and_comes_back_is_followed_on(void **state)
{
    struct kube_client *client = support_client(NULL);
    struct picture picture = { .lock = PTHREAD_MUTEX_INITIALIZER };
    make("lasting", "restart");
    struct kube_informer *informer = kube_informer_start(client, &KUBE_SECRETS, support_namespace, "test=restart", &handler, &picture);

    expect((struct expectation){ &picture, 1, 1, 0, 1 });
    free(support_shell("\"$CLUSTER_TOOL\" stop apiserver"));
    expect((struct expectation){ &picture, 1, 1, 2, 1 });
    free(support_shell("\"$CLUSTER_TOOL\" start apiserver"));
    wait_for_apiserver();
    make("later", "restart");
    expect((struct expectation){ &picture, 2, 1, 2, 2 });
    kube_informer_stop(informer);
    map_free(&picture.names, NULL);
    kube_client_free(client);
}

/* What was deleted while nobody looked, and whose deletion is forgotten, is gone all the same. */
static void a_forgotten_history_is_listed_again(void **state)
{
    struct kube_client *client = support_client(NULL);
    struct picture picture = { .lock = PTHREAD_MUTEX_INITIALIZER };
    char version[64];
    make("kept", "history");
    make("forgotten", "history");
    struct kube_informer *informer = kube_informer_start(client, &KUBE_SECRETS, support_namespace, "test=history", &handler, &picture);

    expect((struct expectation){ &picture, 2, 1, 0, 1 });
    free(support_shell("\"$CLUSTER_TOOL\" stop apiserver"));
    expect((struct expectation){ &picture, 2, 1, 1, 1 });
    /* Straight into the store: nobody will ever see these events. */
    free(support_shell("printf '{\"key\": \"%%s\"}' \"$(printf /registry/secrets/%s/forgotten | base64 -w0)\" | "
                       "nsenter --net=/run/netns/$CLUSTER curl -sf http://127.0.0.1:2379/v3/kv/deleterange -d @-", support_namespace));
    free(support_shell("\"$CLUSTER_TOOL\" compact && \"$CLUSTER_TOOL\" start apiserver"));
    wait_for_apiserver();
    expect((struct expectation){ &picture, 1, 2, 1, 2 });
    (void)version;
    kube_informer_stop(informer);
    map_free(&picture.names, NULL);
    kube_client_free(client);
}

static void watch_nothing(void *context, enum kube_watch_type type, const json_t *object) {}
static bool never(void *context) { return false; }

static bool ignore(void *context, const json_t *object) { return true; }

static void a_watch_from_a_compacted_version_is_expired(void **state)
{
    struct error err = { 0 };
    struct kube_client *client = support_client(NULL);
    char version[64] = "";

    OK(kube_list(client, &KUBE_SECRETS, support_namespace, NULL, ignore, NULL, version, &err));
    make("expiring", "compaction");
    free(support_shell("\"$CLUSTER_TOOL\" compact && \"$CLUSTER_TOOL\" restart apiserver"));
    wait_for_apiserver();
    FAILS(kube_watch(client, &KUBE_SECRETS, support_namespace, NULL, version, watch_nothing, never, NULL, &err), ERR_CONFLICT, "expired");
    kube_client_free(client);
}

struct interrupted {
    unsigned seen, begun;
    bool cut;
};

static void count_begin(void *context) { ((struct interrupted *)context)->begun++; }

/* After the first page the snapshot that the next one continues is forgotten. */
static bool forget_snapshot(void *context, const json_t *object)
{
    struct interrupted *interrupted = context;

    interrupted->seen++;
    if (interrupted->seen == 3 && !interrupted->cut) {
        interrupted->cut = true;
        free(support_shell("\"$CLUSTER_TOOL\" stop apiserver"));
        free(support_shell("kubectl version >/dev/null 2>&1; \"$CLUSTER_TOOL\" start apiserver"));
        wait_for_apiserver();
        make("between", "paged");
        drop("between");
        free(support_shell("\"$CLUSTER_TOOL\" compact && \"$CLUSTER_TOOL\" restart apiserver"));
        wait_for_apiserver();
    }
    return true;
}

static void a_list_whose_snapshot_is_gone_starts_anew(void **state)
{
    struct error err = { 0 };
    struct kube_client *client = support_client(&(struct kube_client_options){ .page_size = 3 });
    struct interrupted interrupted = { 0 };
    struct kube_listing listing = { .begin = count_begin, .each = forget_snapshot, .context = &interrupted };
    char version[64] = "", name[16];

    for (int i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "paged-%d", i);
        make(name, "paged");
    }
    OK(kube_list_run(client, &KUBE_SECRETS, support_namespace, "test=paged", &listing, version, &err));
    assert_int_equal(interrupted.begun, 2);
    assert_int_equal(interrupted.seen, 3 + 8);
    kube_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_picture_follows_what_happens),
        cmocka_unit_test(a_watch_from_a_compacted_version_is_expired),
        cmocka_unit_test(a_server_that_goes_and_comes_back_is_followed_on),
        cmocka_unit_test(a_forgotten_history_is_listed_again),
        cmocka_unit_test(a_list_whose_snapshot_is_gone_starts_anew),
    };

    if (!getenv("CLUSTER") || !getenv("CLUSTER_TOOL")) {
        fprintf(stderr, "CLUSTER and CLUSTER_TOOL are not set\n");
        return 1;
    }
    return cmocka_run_group_tests(tests, support_start, support_end);
}
