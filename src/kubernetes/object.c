/* Reading objects, and values of labels and amounts. */
#include "kubernetes/object.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/json.h"
#include "base/quantity.h"
#include "base/secret.h"
#include "kubernetes/terminal.h"

#define LABEL_VALUE_MAX 63
#define SHORT_HASH_LEN 12
#define GPU_RESOURCE "nvidia.com/gpu"
#define GPUS_MAX 1024

static const json_t *walk(const json_t *object, va_list path)
{
    const char *key;

    while (object && (key = va_arg(path, const char *)))
        object = json_object_get(object, key);
    return object;
}

const json_t *kube_at(const json_t *object, ...)
{
    va_list path;

    va_start(path, object);
    const json_t *found = walk(object, path);
    va_end(path);
    return found;
}

const char *kube_text_at(const json_t *object, ...)
{
    va_list path;

    va_start(path, object);
    const json_t *found = walk(object, path);
    va_end(path);
    return json_string_value(found);
}

const char *kube_name(const json_t *object) { return kube_text_at(object, "metadata", "name", NULL); }
const char *kube_uid(const json_t *object) { return kube_text_at(object, "metadata", "uid", NULL); }
const char *kube_label(const json_t *object, const char *key) { return kube_text_at(object, "metadata", "labels", key, NULL); }
const char *kube_annotation(const json_t *object, const char *key) { return kube_text_at(object, "metadata", "annotations", key, NULL); }
bool kube_is_deleting(const json_t *object) { return kube_text_at(object, "metadata", "deletionTimestamp", NULL) != NULL; }

uint64_t kube_version(const json_t *object)
{
    const char *text = kube_text_at(object, "metadata", "resourceVersion", NULL);
    uint64_t version = 0;

    return text && str_to_u64(str_from(text), &version) ? version : 0;
}

const json_t *kube_named(const json_t *list, const char *name)
{
    const json_t *member;
    size_t i;

    json_array_foreach(list, i, member) {
        const char *its_name = json_text(member, "name");
        if (its_name && strcmp(its_name, name) == 0)
            return member;
    }
    return NULL;
}

bool kube_is_preparing(const json_t *pod, const char *container)
{
    const json_t *status = kube_named(kube_at(pod, "status", "containerStatuses", NULL), container), *condition;
    const char *waiting = kube_text_at(status, "state", "waiting", "reason", NULL);
    size_t i;

    if (!waiting || strcmp(waiting, "ContainerCreating") != 0)
        return false;
    json_array_foreach(kube_at(pod, "status", "conditions", NULL), i, condition) {
        const char *type = json_text(condition, "type"), *value = json_text(condition, "status");
        if (type && value && strcmp(type, "PodScheduled") == 0)
            return strcmp(value, "True") == 0;
    }
    return false;
}

/* --- amounts --- */

char *kube_format_bytes(uint64_t bytes)
{
    if (bytes > 0 && bytes % (1ull << 30) == 0)
        return xasprintf("%" PRIu64 "Gi", bytes >> 30);
    if (bytes > 0 && bytes % (1ull << 20) == 0)
        return xasprintf("%" PRIu64 "Mi", bytes >> 20);
    return xasprintf("%" PRIu64, bytes);
}

char *kube_format_size(const char *text)
{
    uint64_t bytes;

    return quantity_parse_size(str_from(text), &bytes) ? kube_format_bytes(bytes) : xstrdup(text);
}

char *kube_format_cpu(uint64_t nano_cpus)
{
    return xasprintf("%" PRIu64 "m", nano_cpus / 1000000 + (nano_cpus % 1000000 != 0));
}

int kube_put_gpus(json_t *limits, const char *gpus, struct error *err)
{
    uint64_t count;

    if (!gpus)
        return 0;
    if (!str_to_u64(str_from(gpus), &count) || count == 0 || count > GPUS_MAX)
        return error_set(err, ERR_INVALID_POLICY, "gpus '%s': on Kubernetes it must be a number from 1 to %d", gpus, GPUS_MAX);
    json_object_set_new(limits, GPU_RESOURCE, json_integer((json_int_t)count));
    return 0;
}

/* --- labels --- */

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool kube_label_value_is_valid(const char *value)
{
    size_t len = strlen(value);

    if (len == 0)
        return true;
    if (len > LABEL_VALUE_MAX || !is_alphanumeric(value[0]) || !is_alphanumeric(value[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alphanumeric(value[i]) && value[i] != '.' && value[i] != '_' && value[i] != '-')
            return false;
    }
    return true;
}

char *kube_label_value(const char *value)
{
    char digest[65];

    if (kube_label_value_is_valid(value))
        return xstrdup(value);
    sha256_hex(str_from(value), digest);
    return xasprintf("h-%.40s", digest);
}

bool kube_label_stands_for(const char *label, const char *text)
{
    cleanup_free char *value = kube_label_value(text);
    char digest[65];

    sha256_hex(str_from(text), digest);
    digest[SHORT_HASH_LEN] = '\0';
    return strcmp(label, text) == 0 || strcmp(label, value) == 0 || strcmp(label, digest) == 0;
}

bool kube_trouble_passes(const char *message)
{
    static const char *const signs[] = { "timed out waiting for the condition", "have not yet been read at least once", "context deadline exceeded",
                                         "failed to reserve container name" };

    for (size_t i = 0; message && i < COUNT_OF(signs); i++)
        if (strstr(message, signs[i]))
            return true;
    return false;
}

/* Needs no more of the image than a shell and rm, follows no link, and is content only when nothing is left. What another user owns in there (sudo
 * makes it so) is tried again as root where the image allows that. A file system's own lost+found stays. */
const char kube_empty_home_script[] =
    "cd " TERMINAL_HOME " || exit 1\n"
    "left() { for f in * .[!.]* ..?*; do\n"
    "  if [ -e \"$f\" ] || [ -L \"$f\" ]; then [ \"$f\" = lost+found ] || return 0; fi\n"
    "done; return 1; }\n"
    "empty() { for f in * .[!.]* ..?*; do\n"
    "  if [ -e \"$f\" ] || [ -L \"$f\" ]; then [ \"$f\" = lost+found ] || $1 rm -rf -- \"$f\"; fi\n"
    "done; }\n"
    "empty 2>/dev/null\n"
    "if left; then chmod -R u+rwX . 2>/dev/null; empty; fi\n"
    "if left && command -v sudo >/dev/null 2>&1; then empty 'sudo -n'; fi\n"
    "if left; then echo 'the home could not be emptied:' >&2; ls -lA >&2; exit 1; fi\n";
