/* The backend `kubernetes` against a real cluster and the real guest: starts, stops, homes, resets, refusals, several orchestrators, the original's objects. Needs
 * KUBECONFIG, and the guest image in the cluster (TERMINALS_IMAGE, open-terminal:local without it). */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

#include "backend/kubernetes/kubernetes.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/secret.h"
#include "http/client.h"

/* --- an orchestrator: a backend, its watch, and what it told last -------------------------------------------- */

#define MOST_SEEN 16

struct seen {
    char name[96], id[96], key[128], host[256], message[512];
    enum observed_phase phase;
    enum error_class failure;
};

struct orchestrator {
    struct observer observer;
    struct settings settings;
    struct backend *backend;
    pthread_t watch;
    pthread_mutex_t lock;
    struct seen seen[MOST_SEEN];
    size_t count;
    bool listed;
};

static void copy_text(char *to, size_t size, const char *from) { (void)snprintf(to, size, "%s", from ? from : ""); }

static struct seen *find(struct orchestrator *orchestrator, const char *name)
{
    for (size_t i = 0; i < orchestrator->count; i++)
        if (strcmp(orchestrator->seen[i].name, name) == 0)
            return &orchestrator->seen[i];
    assert_true(orchestrator->count < MOST_SEEN);
    struct seen *seen = &orchestrator->seen[orchestrator->count++];
    *seen = (struct seen){ .phase = OBSERVED_ABSENT };
    copy_text(seen->name, sizeof(seen->name), name);
    return seen;
}

static void observe(struct observer *observer, const struct observation *observation)
{
    struct orchestrator *orchestrator = CONTAINER_OF(observer, struct orchestrator, observer);

    pthread_mutex_lock(&orchestrator->lock);
    struct seen *seen = find(orchestrator, observation->name);
    seen->phase = observation->phase;
    seen->failure = observation->failure;
    copy_text(seen->id, sizeof(seen->id), observation->instance_id);
    copy_text(seen->key, sizeof(seen->key), observation->guest_key);
    copy_text(seen->message, sizeof(seen->message), observation->message);
    copy_text(seen->host, sizeof(seen->host), observation->endpoint.host);
    pthread_mutex_unlock(&orchestrator->lock);
}

static void begin(struct observer *observer) { (void)observer; }

static void end(struct observer *observer)
{
    struct orchestrator *orchestrator = CONTAINER_OF(observer, struct orchestrator, observer);

    pthread_mutex_lock(&orchestrator->lock);
    orchestrator->listed = true;
    pthread_mutex_unlock(&orchestrator->lock);
}

static void reachable(struct observer *observer, const struct error *err) { (void)observer, (void)err; }

static void *run_watch(void *argument)
{
    struct orchestrator *orchestrator = argument;

    orchestrator->backend->ops->watch(orchestrator->backend, &orchestrator->observer);
    return NULL;
}

static bool is_listed(void *context)
{
    struct orchestrator *orchestrator = context;

    pthread_mutex_lock(&orchestrator->lock);
    bool listed = orchestrator->listed;
    pthread_mutex_unlock(&orchestrator->lock);
    return listed;
}

static struct orchestrator *orchestrator_new(const char *address)
{
    struct orchestrator *orchestrator = xcalloc(1, sizeof(*orchestrator));
    struct error err = { 0 };

    orchestrator->observer = (struct observer){ observe, begin, end, reachable };
    pthread_mutex_init(&orchestrator->lock, NULL);
    orchestrator->settings = (struct settings){
        .kubernetes_namespace = support_namespace, .kubernetes_storage_size = (char *)"64Mi", .kubernetes_storage_mode = (char *)"per-user",
        .kubernetes_service_type = (char *)"ClusterIP", .kubernetes_address = (char *)address, .image = getenv("TERMINALS_IMAGE"),
        .kubernetes_network_policy = true, .kubernetes_unschedulable_s = 6, .idle_cleanup_timeout_s = 60,
    };
    orchestrator->backend = kubernetes_backend_new(&orchestrator->settings, &err);
    if (!orchestrator->backend)
        fail_msg("%s", err.text);
    orchestrator->watch = thread_start("watch", run_watch, orchestrator);
    assert_true(support_wait(is_listed, orchestrator));
    return orchestrator;
}

static void orchestrator_free(struct orchestrator *orchestrator)
{
    orchestrator->backend->ops->stop_watching(orchestrator->backend);
    pthread_join(orchestrator->watch, NULL);
    orchestrator->backend->ops->free(orchestrator->backend);
    pthread_mutex_destroy(&orchestrator->lock);
    free(orchestrator);
}

/* --- steps --------------------------------------------------------------------------------------------------- */

struct wanted {
    struct orchestrator *orchestrator;
    const char *name;
    enum observed_phase phase;
    struct seen last;
};

static bool has_come(void *context)
{
    struct wanted *wanted = context;

    pthread_mutex_lock(&wanted->orchestrator->lock);
    wanted->last = *find(wanted->orchestrator, wanted->name);
    pthread_mutex_unlock(&wanted->orchestrator->lock);
    return wanted->last.phase == wanted->phase;
}

/* Waits until the orchestrator sees the terminal so. */
static struct seen await(struct orchestrator *orchestrator, const char *name, enum observed_phase phase)
{
    struct wanted wanted = { .orchestrator = orchestrator, .name = name, .phase = phase };

    if (!support_wait(has_come, &wanted) && !support_wait(has_come, &wanted))
        fail_msg("%s is seen in phase %d (%s), not %d", name, (int)wanted.last.phase, wanted.last.message, (int)phase);
    return wanted.last;
}

static struct terminal_spec spec_of(const struct terminal_key *key)
{
    return (struct terminal_spec){ .key = key, .guest_key = "sk-test-0123456789", .image = getenv("TERMINALS_IMAGE"), .allow_sudo = true,
                                   .spec_hash = "0123", .pull_deadline_ms = clock_monotonic_ms() + 60000 };
}

static void name_of(const struct terminal_key *key, char name[static TERMINAL_NAME_SIZE]) { terminal_name(key, "terminal-", name); }

static void start(struct orchestrator *orchestrator, const struct terminal_spec *spec)
{
    struct error err = { 0 };
    OK(orchestrator->backend->ops->start(orchestrator->backend, spec, &err));
}

static void stop(struct orchestrator *orchestrator, const struct terminal_key *key, const char *name)
{
    struct seen seen = { 0 };
    struct error err = { 0 };

    pthread_mutex_lock(&orchestrator->lock);
    seen = *find(orchestrator, name);
    pthread_mutex_unlock(&orchestrator->lock);
    struct terminal_ref ref = { .key = key, .name = name, .instance_id = seen.id[0] ? seen.id : NULL };
    OK(orchestrator->backend->ops->stop(orchestrator->backend, &ref, 1, &err));
}

struct probe {
    struct http_client *client;
    char url[300];
    const char *authorization;
    int status;
};

static bool answers(void *context)
{
    struct probe *probe = context;
    const char *headers[] = { probe->authorization, NULL };
    struct http_call call = { .method = "GET", .url = probe->url, .headers = headers, .timeout_ms = 2000 };
    cleanup_http_answer struct http_answer answer = { 0 };
    struct error err;

    probe->status = http_client_call(probe->client, &call, &answer, &err) == 0 ? answer.status : 0;
    return probe->status == 200;
}

/* The guest at the seen address takes the seen key. */
static void expect_answer(const struct seen *seen)
{
    cleanup_free char *authorization = xasprintf("Authorization: Bearer %s", seen->key);
    struct probe probe = { .client = http_client_new(&(struct http_client_options){ .no_proxy_env = true }), .authorization = authorization };

    (void)snprintf(probe.url, sizeof(probe.url), "http://%s:8000/files/cwd", seen->host);
    if (!support_wait(answers, &probe))
        fail_msg("%s answers %d", probe.url, probe.status);
    http_client_free(probe.client);
}

static char *exec_in(const char *name, const char *script)
{
    return support_shell("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl -n %s exec %s -c open-terminal -- sh -c '%s'", support_namespace, name, script);
}

static void expect_shell(const char *expected, char *found)
{
    if (strcmp(expected, found) != 0)
        fail_msg("'%s', not '%s'", found, expected);
    free(found);
}

/* Objects of the terminal that are there, such as "pod,secret,service". */
static char *objects_of(const char *name)
{
    return support_shell("kubectl -n %s get pod,service,secret,pvc -o name | grep %s | sed 's|/.*||' | sort | tr '\\n' ' '", support_namespace, name);
}

static double calls_made(void)
{
    cleanup_buf struct buf text = { 0 };
    double sum = 0;
    struct str rest, line;

    metrics_render(&text);
    rest = buf_str(&text);
    while (str_next_part(&rest, '\n', &line)) {
        cleanup_free char *copy = str_dup(line);
        if (strncmp(copy, "terminals_engine_calls_total{", 29) == 0 && strchr(copy, ' '))
            sum += strtod(strrchr(copy, ' '), NULL);
    }
    return sum;
}

#define KEY(user, policy) { (char *)(user), (char *)(policy), (char *)"default" }

/* --- tests --------------------------------------------------------------------------------------------------- */

static void a_terminal_lives_and_its_home_stays(void **state)
{
    static const struct terminal_key key = KEY("alice@example.org", "default");
    struct orchestrator *ours = orchestrator_new("pod");
    struct terminal_spec spec = spec_of(&key);
    char name[TERMINAL_NAME_SIZE];
    double before;

    name_of(&key, name);
    usleep(500000);                 /* the NetworkPolicy is no part of a start */
    before = calls_made();
    start(ours, &spec);
    struct seen seen = await(ours, name, OBSERVED_RUNNING);
    if (calls_made() - before > 6)
        fail_msg("a start took %.0f calls", calls_made() - before);
    assert_string_equal(seen.key, spec.guest_key);
    expect_answer(&seen);
    free(exec_in(name, "cd /home/user && echo kept > file && mkdir -p .dots/deep && echo x > .dots/deep/.file && ln -s / root && touch -- -rf ...z"));
    stop(ours, &key, name);
    (void)await(ours, name, OBSERVED_ABSENT);
    expect_shell("persistentvolumeclaim", objects_of(name));

    before = calls_made();
    start(ours, &spec);
    (void)await(ours, name, OBSERVED_RUNNING);
    if (calls_made() - before > 6)
        fail_msg("another start took %.0f calls", calls_made() - before);
    expect_shell("kept", exec_in(name, "cat /home/user/file"));
    stop(ours, &key, name);
    (void)await(ours, name, OBSERVED_ABSENT);

    struct error err = { 0 };
    OK(ours->backend->ops->wipe(ours->backend, &(struct terminal_ref){ .key = &key, .name = name }, &err));
    start(ours, &spec);
    (void)await(ours, name, OBSERVED_RUNNING);
    expect_shell("", exec_in(name, "cd /home/user; ls -A | grep -vx -e .local -e .cache -e .config || true"));
    expect_shell("yes", exec_in(name, "[ -e /bin/sh ] && echo yes"));
    stop(ours, &key, name);
    orchestrator_free(ours);
}

static void a_shared_home_is_emptied_alone(void **state)
{
    static const struct terminal_key keys[] = { KEY("bob", "default"), KEY("carol", "default") };
    struct orchestrator *ours = orchestrator_new("pod");
    char names[2][TERMINAL_NAME_SIZE];
    struct error err = { 0 };

    for (int i = 0; i < 2; i++) {
        struct terminal_spec spec = spec_of(&keys[i]);
        spec.storage_mode = "shared-rwo";
        name_of(&keys[i], names[i]);
        start(ours, &spec);
        (void)await(ours, names[i], OBSERVED_RUNNING);
        free(exec_in(names[i], "touch /home/user/.mine"));
    }
    stop(ours, &keys[0], names[0]);
    (void)await(ours, names[0], OBSERVED_ABSENT);
    OK(ours->backend->ops->wipe(ours->backend, &(struct terminal_ref){ .key = &keys[0], .name = names[0] }, &err));
    expect_shell("yes", exec_in(names[1], "[ -e /home/user/.mine ] && echo yes"));
    struct terminal_spec spec = spec_of(&keys[0]);
    spec.storage_mode = "shared-rwo";
    start(ours, &spec);
    (void)await(ours, names[0], OBSERVED_RUNNING);
    expect_shell("no", exec_in(names[0], "[ -e /home/user/.mine ] || echo no"));
    for (int i = 0; i < 2; i++)
        stop(ours, &keys[i], names[i]);
    orchestrator_free(ours);
}

static void failures_are_told_apart(void **state)
{
    static const struct { const char *user, *image, *policy; uint64_t memory; enum error_class class; const char *text; } rows[] = {
        { "no-image", "Not//A:Name", NULL, 0, ERR_IMAGE_NOT_FOUND, "InvalidImageName" },
        { "missing-image", "test.local/missing:1", "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"open-terminal\",\"imagePullPolicy\":\"Never\"}]}}}", 0,
          ERR_IMAGE_NOT_FOUND, "ErrImageNeverPull" },
        { "no-node", NULL, "{\"podTemplate\":{\"spec\":{\"nodeSelector\":{\"no\":\"where\"}}}}", 0, ERR_UNSCHEDULABLE, "no node takes the pod" },
        { "crash", NULL, "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"open-terminal\",\"command\":[\"sh\",\"-c\",\"echo bye; exit 3\"]}]}}}", 0,
          ERR_GUEST_CRASHED, "exited with code 3" },
        { "memory", NULL, "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"open-terminal\",\"command\":[\"sh\",\"-c\",\"head -c 200m /dev/zero | tail\"]}]}}}",
          32 << 20, ERR_GUEST_CRASHED, "out of memory" },
        { "root", NULL, "{\"pod_security_context\":{\"runAsNonRoot\":true}}", 0, ERR_INVALID_POLICY, "runAsNonRoot" },
    };
    struct orchestrator *ours = orchestrator_new("pod");

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_key key = KEY(rows[i].user, "default");
        cleanup_json json_t *policy = rows[i].policy ? json_read(str_from(rows[i].policy), NULL) : NULL;
        struct terminal_spec spec = spec_of(&key);
        cleanup_free char *said = NULL;
        char name[TERMINAL_NAME_SIZE];
        struct error err = { 0 };

        spec.image = rows[i].image ? rows[i].image : spec.image;
        spec.policy = policy;
        spec.memory_bytes = rows[i].memory;
        name_of(&key, name);
        start(ours, &spec);
        struct seen seen = await(ours, name, OBSERVED_FAILED);
        if (seen.failure != rows[i].class || !strstr(seen.message, rows[i].text))
            fail_msg("%s: %s: %s", rows[i].user, error_class_name(seen.failure), seen.message);
        OK(ours->backend->ops->diagnose(ours->backend, &(struct terminal_ref){ .key = &key, .name = name }, &said, &err));
        assert_non_null(strstr(said, rows[i].text));
        stop(ours, &key, name);
        (void)await(ours, name, OBSERVED_ABSENT);
    }
    orchestrator_free(ours);
}

static void a_refused_start_leaves_nothing(void **state)
{
    static const struct terminal_key key = KEY("dave", "default");
    struct orchestrator *ours = orchestrator_new("pod");
    struct terminal_spec spec = spec_of(&key);
    char name[TERMINAL_NAME_SIZE];
    struct error err = { 0 };

    name_of(&key, name);
    free(support_shell("kubectl -n %s create quota q --hard=pods=0", support_namespace));
    FAILS(ours->backend->ops->start(ours->backend, &spec, &err), ERR_NO_CAPACITY, "exceeded quota");
    free(support_shell("kubectl -n %s delete quota q", support_namespace));
    expect_shell("", support_shell("kubectl -n %s get pod,service,secret -o name | grep %s || true", support_namespace, name));

    cleanup_json json_t *policy = json_read(STR_LITERAL("{\"podTemplate\":{\"spec\":{\"dnsPolicy\":\"Nonsense\"}}}"), NULL);
    spec.policy = policy;
    FAILS(ours->backend->ops->start(ours->backend, &spec, &err), ERR_INVALID_POLICY, "dnsPolicy");
    orchestrator_free(ours);
}

static void what_is_deleted_by_hand_comes_back_or_is_cleared(void **state)
{
    static const struct terminal_key key = KEY("erin", "default");
    struct orchestrator *ours = orchestrator_new("pod");
    struct terminal_spec spec = spec_of(&key);
    char name[TERMINAL_NAME_SIZE];

    name_of(&key, name);
    start(ours, &spec);
    struct seen before = await(ours, name, OBSERVED_RUNNING);
    free(support_shell("kubectl -n %s delete secret/%s-apikey service/%s", support_namespace, name, name));
    expect_answer(&before);
    free(support_shell("for i in $(seq 100); do kubectl -n %s get secret/%s-apikey service/%s >/dev/null 2>&1 && exit 0; sleep 0.2; done; exit 1",
                       support_namespace, name, name));
    free(support_shell("kubectl -n %s delete pod %s --grace-period=0 --force 2>/dev/null", support_namespace, name));
    (void)await(ours, name, OBSERVED_ABSENT);

    /* The Secret that was left is used again, whatever key the new start brings. */
    spec.guest_key = "sk-another";
    start(ours, &spec);
    struct seen after = await(ours, name, OBSERVED_RUNNING);
    assert_string_equal(after.key, before.key);
    assert_string_not_equal(after.id, before.id);
    expect_answer(&after);
    stop(ours, &key, name);
    orchestrator_free(ours);
}

struct racer {
    struct orchestrator *orchestrator;
    struct terminal_spec spec;
    int result;
    struct error err;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    struct backend *backend = racer->orchestrator->backend;

    racer->result = backend->ops->start(backend, &racer->spec, &racer->err);
    return NULL;
}

static void orchestrators_side_by_side_do_not_fight(void **state)
{
    static const struct terminal_key key = KEY("frank", "default");
    struct orchestrator *first = orchestrator_new("pod"), *second = orchestrator_new("pod");
    char name[TERMINAL_NAME_SIZE];

    name_of(&key, name);
    for (int round = 0; round < 5; round++) {
        struct racer racers[] = { { .orchestrator = first, .spec = spec_of(&key) }, { .orchestrator = second, .spec = spec_of(&key) } };
        pthread_t threads[2];

        racers[0].spec.guest_key = "sk-first";
        racers[1].spec.guest_key = "sk-second";
        for (int i = 0; i < 2; i++)
            threads[i] = thread_start("race", race, &racers[i]);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            support_ok(racers[i].result, &racers[i].err, "start");
        }
        struct seen one = await(first, name, OBSERVED_RUNNING), other = await(second, name, OBSERVED_RUNNING);
        assert_string_equal(one.id, other.id);
        assert_string_equal(one.key, other.key);
        expect_answer(&other);
        stop(round % 2 ? first : second, &key, name);
        (void)await(first, name, OBSERVED_ABSENT);
        (void)await(second, name, OBSERVED_ABSENT);
        expect_shell("persistentvolumeclaim", objects_of(name));
    }
    orchestrator_free(first);
    orchestrator_free(second);
}

static void a_new_orchestrator_finds_what_runs(void **state)
{
    static const struct terminal_key key = KEY("grace/\xf0\x9f\x98\x80", "A.B");
    struct orchestrator *first = orchestrator_new("pod");
    struct terminal_spec spec = spec_of(&key);
    char name[TERMINAL_NAME_SIZE];

    name_of(&key, name);
    start(first, &spec);
    struct seen before = await(first, name, OBSERVED_RUNNING);
    orchestrator_free(first);
    struct orchestrator *second = orchestrator_new("service");
    struct seen after = await(second, name, OBSERVED_RUNNING);
    assert_string_equal(after.id, before.id);
    assert_string_equal(after.key, before.key);
    assert_string_not_equal(after.host, before.host);
    expect_answer(&after);
    stop(second, &key, name);
    orchestrator_free(second);
}

/* The original's pod, Secret, Service and claim, with labels and nothing else. */
static void make_original(const char *user, const char *slug, const char *name, bool with_pod)
{
    const char *labels = "labels: {app.kubernetes.io/managed-by: terminals, openwebui.com/user-id: $U, openwebui.com/policy: $P, openwebui.com/context-id: default}";
    cleanup_free char *pod = with_pod ? xasprintf(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s-apikey}\nstringData: {api-key: sk-of-the-original}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, %s}\nspec: {containers: [{name: open-terminal, image: %s, "
        "env: [{name: OPEN_TERMINAL_API_KEY, valueFrom: {secretKeyRef: {name: %s-apikey, key: api-key}}}], volumeMounts: [{name: h, mountPath: /home/user}]}], "
        "volumes: [{name: h, persistentVolumeClaim: {claimName: %s}}]}\n", name, name, labels, getenv("TERMINALS_IMAGE"), name, name) : xstrdup("");

    free(support_shell("U=%s P=%s; kubectl -n %s apply -f - <<END\n"
                       "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s, %s}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}\n"
                       "%sEND\n", user, slug, support_namespace, name, labels, pod));
}

static void the_originals_terminal_is_adopted(void **state)
{
    static const struct terminal_key key = KEY("heidi", "default");
    char name[TERMINAL_NAME_SIZE];

    name_of(&key, name);
    make_original("heidi", "default", name, true);
    struct orchestrator *ours = orchestrator_new("pod");
    struct seen seen = await(ours, name, OBSERVED_RUNNING);
    assert_string_equal(seen.key, "sk-of-the-original");
    expect_answer(&seen);
    struct terminal_spec spec = spec_of(&key);
    free(exec_in(name, "echo old > /home/user/file"));
    stop(ours, &key, name);
    (void)await(ours, name, OBSERVED_ABSENT);
    start(ours, &spec);
    (void)await(ours, name, OBSERVED_RUNNING);
    expect_shell("old", exec_in(name, "cat /home/user/file"));
    expect_shell("default", support_shell("kubectl -n %s get pvc %s -o 'jsonpath={.metadata.annotations.openwebui\\.com/policy-id}'", support_namespace, name));
    stop(ours, &key, name);
    orchestrator_free(ours);
}

/* Policies "A.B" and "a-b" have one slug. The first that comes gets the original's home; the other one gets its own, also when its name is that of the claim. */
static void an_originals_home_is_claimed_once(void **state)
{
    static const struct terminal_key first = KEY("ivan", "A.B"), second = KEY("ivan", "a-b");
    char names[2][TERMINAL_NAME_SIZE];
    struct orchestrator *ours = orchestrator_new("pod");
    struct terminal_spec specs[] = { spec_of(&first), spec_of(&second) };

    name_of(&first, names[0]);
    name_of(&second, names[1]);
    make_original("ivan", "a-b", names[1], false);
    for (int i = 0; i < 2; i++) {
        start(ours, &specs[i]);
        (void)await(ours, names[i], OBSERVED_RUNNING);
    }
    for (int i = 0; i < 2; i++) {
        cleanup_free char *claim = support_shell("kubectl -n %s get pod %s -o 'jsonpath={.spec.volumes[0].persistentVolumeClaim.claimName}'", support_namespace, names[i]);
        if (i == 0)
            assert_string_equal(claim, names[1]);
        else
            assert_true(strncmp(claim, names[1], strlen(names[1])) == 0 && strcmp(claim, names[1]) != 0);
    }
    stop(ours, &first, names[0]);
    stop(ours, &second, names[1]);
    orchestrator_free(ours);
}

static void what_is_not_ours_is_left_alone(void **state)
{
    static const struct terminal_key key = KEY("judy", "default");
    struct orchestrator *ours = orchestrator_new("pod");
    struct terminal_spec spec = spec_of(&key);
    char name[TERMINAL_NAME_SIZE];
    struct error err = { 0 };

    name_of(&key, name);
    free(support_shell("kubectl -n %s run %s --image=%s --image-pull-policy=IfNotPresent --command -- sleep 100", support_namespace, name, getenv("TERMINALS_IMAGE")));
    FAILS(ours->backend->ops->start(ours->backend, &spec, &err), ERR_CONFLICT, "not ours");
    OK(ours->backend->ops->stop(ours->backend, &(struct terminal_ref){ .key = &key, .name = name }, 1, &err));
    cleanup_free char *left = objects_of(name);
    assert_non_null(strstr(left, "pod"));
    assert_null(strstr(left, "secret"));
    free(support_shell("kubectl -n %s delete pod %s --grace-period=0 --force 2>/dev/null", support_namespace, name));
    orchestrator_free(ours);
}

static void count_failures(void *context, const struct check_result *result)
{
    if (!result->ok) {
        (*(unsigned *)context)++;
        print_message("%s: %s (%s)\n", result->what, result->detail, result->fix);
        assert_non_null(result->fix);
    }
}

static void the_doctor_finds_what_is_missing(void **state)
{
    struct orchestrator *ours = orchestrator_new("pod");
    unsigned failures = 0;

    ours->backend->ops->check(ours->backend, count_failures, &failures);
    assert_int_equal(failures, 0);
    ours->settings.kubernetes_storage_class = (char *)"not-there";
    ours->backend->ops->check(ours->backend, count_failures, &failures);
    assert_int_equal(failures, 1);
    orchestrator_free(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_lives_and_its_home_stays),
        cmocka_unit_test(a_shared_home_is_emptied_alone),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(a_refused_start_leaves_nothing),
        cmocka_unit_test(what_is_deleted_by_hand_comes_back_or_is_cleared),
        cmocka_unit_test(orchestrators_side_by_side_do_not_fight),
        cmocka_unit_test(a_new_orchestrator_finds_what_runs),
        cmocka_unit_test(the_originals_terminal_is_adopted),
        cmocka_unit_test(an_originals_home_is_claimed_once),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
        cmocka_unit_test(the_doctor_finds_what_is_missing),
    };

    cmocka_set_test_filter(getenv("TEST_FILTER"));
    (void)setenv("TERMINALS_IMAGE", "docker.io/library/open-terminal:local", 0);
    return cmocka_run_group_tests(tests, support_start, support_end);
}
