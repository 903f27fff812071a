/* What the container of a terminal may use, and what it asks for. */
#include "backend/kubernetes/parts.h"

/* What an idle guest needs: many share a node, and the scheduler still sees them. */
#define REQUEST_MILLI_CPUS 10
#define REQUEST_BYTES (64ull << 20)

static void set_amount(json_t *amounts, const char *name, char *text)
{
    json_object_set_new(amounts, name, json_string(text));
    free(text);
}

/* A smaller limit is the request too. */
static void set_requests(json_t *requests, const struct terminal_spec *spec, const json_t *given)
{
    uint64_t nano_cpus = REQUEST_MILLI_CPUS * 1000000ull, bytes = REQUEST_BYTES;

    if (spec->nano_cpus && spec->nano_cpus < nano_cpus)
        nano_cpus = spec->nano_cpus;
    if (spec->memory_bytes && spec->memory_bytes < bytes)
        bytes = spec->memory_bytes;
    if (!json_object_get(given, "cpu"))
        set_amount(requests, "cpu", kube_format_cpu(nano_cpus));
    if (!json_object_get(given, "memory"))
        set_amount(requests, "memory", kube_format_bytes(bytes));
}

json_t *pod_resources(const struct terminal_spec *spec, const json_t *given, struct error *err)
{
    cleanup_json json_t *limits = json_object(), *requests = json_object();

    if (kube_put_gpus(limits, spec->gpus, err) < 0)
        return NULL;
    if (spec->nano_cpus)
        set_amount(limits, "cpu", kube_format_cpu(spec->nano_cpus));
    if (spec->memory_bytes)
        set_amount(limits, "memory", kube_format_bytes(spec->memory_bytes));
    set_requests(requests, spec, json_object_get(given, "requests"));
    return json_pack("{s:O, s:O}", "limits", limits, "requests", requests);
}
