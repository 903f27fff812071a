/* The first address tells the whole identity, but only to a human session; the second answers to every live token of an
 * active user, and proves by that the claims inside the token. */
#include "auth/open_webui.h"

#include "auth/jwt.h"
#include "base/json.h"
#include "base/log.h"

#define CALL_TIMEOUT_MS 10000

/* The status, or -1 when nobody answered. */
static int ask(struct http_client *client, const char *url, const char *path, struct str token, struct http_answer *answer)
{
    cleanup_free char *address = xasprintf("%s%s", url, path);
    cleanup_free char *authorization = xasprintf("Authorization: Bearer %.*s", STR_ARG(token));
    const char *const headers[] = { authorization, "Accept: application/json", NULL };
    const struct http_call call = { .method = "GET", .url = address, .headers = headers, .timeout_ms = CALL_TIMEOUT_MS };
    struct error why = { 0 };
    int result = http_client_call(client, &call, answer, &why);

    explicit_bzero(authorization, strlen(authorization));
    if (result < 0) {
        log_warning("Open WebUI cannot be asked about a token", LOG_STR("url", address), LOG_ERR(&why));
        return -1;
    }
    return answer->status;
}

static enum token_verdict undecided(struct error *err, enum error_class class, const char *text)
{
    error_set(err, class, "%s", text);
    return TOKEN_UNDECIDED;
}

/* Neither yes nor no: an outage, a redirection, too many requests. */
static enum token_verdict unreachable(int status, struct error *err)
{
    if (status > 0)
        log_warning("Open WebUI gave no verdict on a token", LOG_INT("status", status));
    return undecided(err, ERR_UNAVAILABLE, "Failed to reach Open WebUI");
}

/* For a status other than 200. Only what is certainly about the token counts as its rejection. */
static enum token_verdict judge_status(int status, struct error *err)
{
    if (status == 401 || status == 403) {
        error_set(err, ERR_UNAUTHORIZED, "Invalid token");
        return TOKEN_REJECTED;
    }
    if (status == 400 || status == 404)
        return undecided(err, ERR_UNAUTHORIZED, "Invalid token");
    return unreachable(status, err);
}

/* Copies a text that fits; otherwise leaves "". */
static void copy_text(char *out, size_t size, const char *text)
{
    out[0] = '\0';
    if (text && strlen(text) < size)
        (void)snprintf(out, size, "%s", text);
}

static bool fill_user_id(struct identity *identity, const json_t *object)
{
    const char *id = json_text(object, "id");

    copy_text(identity->user_id, sizeof(identity->user_id), id);
    return identity->user_id[0] && !str_has_control(str_from(id));
}

static enum token_verdict read_session(const struct http_answer *answer, struct token_owner *owner, struct error *err)
{
    struct error ignored;
    cleanup_json json_t *body = json_read_lenient(buf_str(&answer->body), &ignored);
    struct identity *identity = &owner->identity;

    if (!fill_user_id(identity, body))
        return undecided(err, ERR_UNAUTHORIZED, "Token response missing user ID");
    copy_text(identity->email, sizeof(identity->email), json_text(body, "email"));
    copy_text(identity->role, sizeof(identity->role), json_text(body, "role"));
    owner->expires_s = json_integer_value(json_object_get(body, "expires_at"));
    if (strcmp(identity->role, "admin") == 0 || strcmp(identity->role, "user") == 0)
        return TOKEN_GENUINE;
    error_set(err, ERR_FORBIDDEN, "Users with role '%s' may not use terminals", identity->role);
    return TOKEN_UNDECIDED;
}

static enum token_verdict verify_by_claims(struct http_client *client, const char *url, struct str token,
                                           struct token_owner *owner, struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };
    int status = ask(client, url, "/api/v1/terminals/", token, &answer);

    if (status != 200)
        return judge_status(status, err);
    cleanup_json json_t *claims = jwt_read_claims(token);

    if (!fill_user_id(&owner->identity, claims))
        return undecided(err, ERR_UNAUTHORIZED, "Token response missing user ID");
    owner->expires_s = json_integer_value(json_object_get(claims, "exp"));
    return TOKEN_GENUINE;
}

enum token_verdict open_webui_verify(struct http_client *client, const char *url, struct str token, struct token_owner *owner,
                                     struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };
    int status = ask(client, url, "/api/v1/auths/", token, &answer);

    *owner = (struct token_owner){ 0 };
    if (status == 200)
        return read_session(&answer, owner, err);
    if (status == 403)
        return verify_by_claims(client, url, token, owner, err);
    return judge_status(status, err);
}
