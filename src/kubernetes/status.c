/* What a refusal of the API server means to us. Its Status objects carry a code, a reason word and a sentence; proxies before it carry none of them. */
#include "base/json.h"
#include "kubernetes/object.h"
#include "kubernetes/request.h"

#define EXPIRED "expired: "

static bool has_cause(const json_t *status, const char *wanted)
{
    const json_t *cause;
    size_t i;

    json_array_foreach(kube_at(status, "details", "causes", NULL), i, cause) {
        const char *reason = json_text(cause, "reason");
        if (reason && strcmp(reason, wanted) == 0)
            return true;
    }
    return false;
}

/* The version lies before what the server keeps, or (after its store was put back) beyond what it has. */
static bool is_expired(int code, const json_t *status)
{
    return code == 410 || has_cause(status, "ResourceVersionTooLarge");
}

static enum error_class class_of(int code, const char *message)
{
    switch (code) {
    case 401: return ERR_FORBIDDEN;
    case 403: return strstr(message, "exceeded quota") ? ERR_NO_CAPACITY : ERR_FORBIDDEN;
    case 404: return ERR_NOT_FOUND;
    case 409:
    case 410: return ERR_CONFLICT;
    case 429: return ERR_LIMIT;
    default: return code >= 500 ? ERR_UNAVAILABLE : ERR_INVALID;
    }
}

int kube_status_expired(struct error *err, const char *message) { return error_set(err, ERR_CONFLICT, EXPIRED "%s", message); }

int kube_status_object_error(int status, const json_t *object, struct error *err)
{
    json_int_t code = json_integer_value(json_object_get(object, "code"));
    const char *message = json_text(object, "message");
    int number = code >= 400 && code <= 599 ? (int)code : status;

    if (!message || !*message)
        message = json_text(object, "reason");
    if (!message || !*message)
        return error_set(err, class_of(number, ""), "%sthe API server answered %d", is_expired(number, object) ? EXPIRED : "", number);
    if (is_expired(number, object))
        return kube_status_expired(err, message);
    return error_set(err, class_of(number, message), "%s", message);
}

/* A body that is no Status, from a proxy: its first words are better than nothing. */
static int plain_error(int status, struct str body, struct error *err)
{
    struct str text = str_trim(body);

    if (text.len > 200)
        text.len = 200;
    if (text.len == 0 || !str_is_utf8(text) || str_has_control(text))
        return error_set(err, class_of(status, ""), "the API server answered %d", status);
    return error_set(err, class_of(status, ""), "the API server answered %d: %.*s", status, STR_ARG(text));
}

int kube_status_error(int status, struct str body, struct error *err)
{
    cleanup_json json_t *object = json_read_lenient(body, NULL);
    const char *kind = json_text(object, "kind");

    if (kind && strcmp(kind, "Status") == 0)
        return kube_status_object_error(status, object, err);
    return plain_error(status, body, err);
}

bool kube_error_is_expired(const struct error *err)
{
    return err->class == ERR_CONFLICT && strncmp(err->text, EXPIRED, sizeof(EXPIRED) - 1) == 0;
}
