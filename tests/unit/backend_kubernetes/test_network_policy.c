/* The guests' NetworkPolicy while something that it is made of cannot be found out: a good one is never replaced by a weaker one. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "stub_api.h"

#define POLICIES "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies"
#define OUR_PEER "\"from\":[{\"ipBlock\":{\"cidr\":\"127.0.0.1/32\"}}]"
#define ENDPOINTS "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.9.9.9\"}]}]}"
/* Longer than a label may be, so that nobody is asked for it. */
#define NO_NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static int endpoints_status;
static bool policy_is_there;

static const char *answer(struct stub_api *stub, const char *call, const char *body, int *status)
{
    *status = 200;
    if (strcmp(call, "GET /api/v1/namespaces/default/endpoints/kubernetes") == 0) {
        *status = endpoints_status;
        return endpoints_status == 200 ? ENDPOINTS : "{\"kind\":\"Status\",\"message\":\"m\"}";
    }
    if (strcmp(call, "POST " POLICIES) == 0)
        *status = policy_is_there ? 409 : 201;
    return "{\"kind\":\"Status\",\"message\":\"m\"}";
}

/* The one call that changes the policy, with its body; NULL: none, or more than one. The caller frees. */
static char *change_of(struct stub_api *api)
{
    struct str rest = buf_str(&api->calls), line;
    char *found = NULL;

    while (str_next_part(&rest, '\n', &line)) {
        if (line.len == 0 || str_starts_with(line, STR_LITERAL("GET ")))
            continue;
        if (found) {
            free(found);
            return NULL;
        }
        found = str_dup(line);
    }
    return found;
}

static void a_good_policy_is_not_replaced_by_a_weaker_one(void **state)
{
    static const struct {
        const char *what, *server;
        int endpoints;
        bool is_there, whole;
        const char *call, *holds, *lacks;
    } rows[] = {
        { "all is known", NULL, 200, true, true, "PATCH " POLICIES "/terminals-guests", OUR_PEER, "[]" },
        { "the server's addresses are known", NULL, 200, true, true, "PATCH ", "\"10.9.9.9/32\"", "[]" },
        { "no right to read the server's addresses", NULL, 403, true, true, "PATCH ", OUR_PEER, "[]" },
        { "the server's addresses cannot be read just now", NULL, 500, true, false, "POST " POLICIES, OUR_PEER, "[]" },
        { "the same, and there is no policy", NULL, 500, false, false, "POST " POLICIES, OUR_PEER, "[]" },
        { "the server's name is not resolved", NO_NAME, 200, true, false, "POST " POLICIES, "\"policyTypes\":[\"Egress\"]", "from" },
        { "the same, and there is no policy", NO_NAME, 200, false, false, "POST " POLICIES, "\"10.9.9.9/32\"", "ingress" },
    };
    struct settings settings = { .kubernetes_namespace = (char *)"ns", .kubernetes_network_policy = true };

    unsetenv("KUBERNETES_SERVICE_HOST");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct stub_api api = { .answer = answer };
        endpoints_status = rows[i].endpoints;
        policy_is_there = rows[i].is_there;
        stub_start(&api);
        struct kubernetes k = { .settings = &settings, .namespace = "ns", .client = stub_client(&api, rows[i].server) };
        bool whole = network_policy_apply(&k);
        cleanup_free char *change = change_of(&api);
        if (whole != rows[i].whole || !change || !str_starts_with(str_from(change), str_from(rows[i].call)) || !strstr(change, rows[i].holds) ||
            strstr(change, rows[i].lacks))
            fail_msg("%s: %d %s\n%.*s", rows[i].what, whole, change ? change : "no change, or several", (int)api.calls.len, api.calls.data);
        kube_client_free(k.client);
        stub_stop(&api);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_policy_is_not_replaced_by_a_weaker_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
