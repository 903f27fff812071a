/* Limits, requests and sizes as Kubernetes writes them. */
#include <inttypes.h>

#include "backend/kubernetes/parts.h"

/* What an idle guest needs: many share a node, and the scheduler still sees them. */
#define REQUEST_MILLI_CPUS 10
#define REQUEST_BYTES (64ull << 20)
#define GPU_RESOURCE "nvidia.com/gpu"

char *format_size(uint64_t bytes)
{
    if (bytes > 0 && bytes % (1ull << 30) == 0)
        return xasprintf("%" PRIu64 "Gi", bytes >> 30);
    if (bytes > 0 && bytes % (1ull << 20) == 0)
        return xasprintf("%" PRIu64 "Mi", bytes >> 20);
    return xasprintf("%" PRIu64, bytes);
}

/* Thousandths are the finest that Kubernetes takes: rounded up. */
static char *format_cpu(uint64_t nano_cpus)
{
    return xasprintf("%" PRIu64 "m", nano_cpus / 1000000 + (nano_cpus % 1000000 != 0));
}

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
        set_amount(requests, "cpu", format_cpu(nano_cpus));
    if (!json_object_get(given, "memory"))
        set_amount(requests, "memory", format_size(bytes));
}

static int set_gpus(json_t *limits, const char *gpus, struct error *err)
{
    uint64_t count;

    if (!gpus)
        return 0;
    if (!str_to_u64(str_from(gpus), &count) || count == 0 || count > 1024)
        return error_set(err, ERR_INVALID_POLICY, "gpus '%s': on Kubernetes it must be a number", gpus);
    json_object_set_new(limits, GPU_RESOURCE, json_integer((json_int_t)count));
    return 0;
}

json_t *pod_resources(const struct terminal_spec *spec, const json_t *given, struct error *err)
{
    cleanup_json json_t *limits = json_object(), *requests = json_object();

    if (set_gpus(limits, spec->gpus, err) < 0)
        return NULL;
    if (spec->nano_cpus)
        set_amount(limits, "cpu", format_cpu(spec->nano_cpus));
    if (spec->memory_bytes)
        set_amount(limits, "memory", format_size(spec->memory_bytes));
    set_requests(requests, spec, json_object_get(given, "requests"));
    return json_pack("{s:O, s:O}", "limits", limits, "requests", requests);
}
