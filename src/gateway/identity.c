#include "gateway/identity.h"

static bool copy_text(char *out, size_t size, struct str text)
{
    if (text.len >= size)
        return false;
    (void)snprintf(out, size, "%.*s", STR_ARG(text));        /* no text here holds a NUL */
    return true;
}

/* The id of a path segment. An escaped slash or NUL, or an id that no policy can have, is refused and never looked up. */
static int decode_policy_id(struct str encoded, char policy_id[static POLICY_ID_SIZE], struct error *err)
{
    char decoded[3 * POLICY_ID_SIZE];
    size_t len = 0;

    if (encoded.len >= sizeof(decoded) || !str_percent_decode(encoded, false, decoded, &len))
        return error_set(err, ERR_INVALID, "Invalid policy id");
    if (!policy_id_is_valid(str_of(decoded, len)) || !copy_text(policy_id, POLICY_ID_SIZE, str_of(decoded, len)))
        return error_set(err, ERR_INVALID, "Invalid policy id");
    return 0;
}

int identity_policy(const struct route_match *match, const struct identity *identity, const struct policy_snapshot *policies,
                    char policy_id[static POLICY_ID_SIZE], struct error *err)
{
    if (!match->names_policy)
        (void)copy_text(policy_id, POLICY_ID_SIZE, STR_LITERAL(DEFAULT_POLICY_ID));
    else if (decode_policy_id(match->policy_id, policy_id, err) < 0)
        return -1;
    const struct policy *policy = policy_snapshot_find(policies, str_from(policy_id));
    if (!policy)
        return error_set(err, ERR_NOT_FOUND, "Policy '%s' not found", policy_id);
    if (!identity->trusted && !policy_allows(policy, identity->user_id, identity->email, identity->role))
        return error_set(err, ERR_FORBIDDEN, "Not allowed to use policy '%s'", policy_id);
    return 0;
}

int identity_check_user(struct str user_id, struct error *err)
{
    if (user_id_check(user_id, err) < 0)
        return -1;
    if (str_equal_text(user_id, SYSTEM_USER_ID))
        return error_set(err, ERR_INVALID, "The user id 'system' is reserved");
    return 0;
}

int identity_check_once(const struct http_request *request, struct error *err)
{
    if (http_count_field(&request->fields, STR_LITERAL("X-User-Id")) > 1)
        return error_set(err, ERR_INVALID, "The header X-User-Id was sent more than once");
    if (http_count_field(&request->fields, STR_LITERAL("X-Terminal-Context-Id")) > 1)
        return error_set(err, ERR_INVALID, "The header X-Terminal-Context-Id was sent more than once");
    return 0;
}

static int resolve_user(const struct http_request *request, const struct identity *identity, struct caller *caller, struct error *err)
{
    const struct http_field *user = http_find_field(&request->fields, STR_LITERAL("X-User-Id"));

    if (!user)
        return error_set(err, ERR_UNPROCESSABLE, "Field required");
    if (identity_check_user(user->value, err) < 0)
        return -1;
    if (!copy_text(caller->user_id, sizeof(caller->user_id), user->value))
        return error_set(err, ERR_INVALID, "The user id is too long");
    if (identity_check_once(request, err) < 0)
        return -1;
    if (!identity->trusted && strcmp(identity->user_id, caller->user_id) != 0)
        return error_set(err, ERR_FORBIDDEN, "X-User-Id does not match authenticated identity");
    return 0;
}

int identity_resolve(const struct http_request *request, const struct route_match *match, const struct identity *identity,
                     const struct policy_snapshot *policies, struct caller *caller, struct error *err)
{
    const struct http_field *context = http_find_field(&request->fields, STR_LITERAL("X-Terminal-Context-Id"));
    struct str context_id;

    caller->key = (struct terminal_key){ caller->user_id, caller->policy_id, caller->context_id };
    if (resolve_user(request, identity, caller, err) < 0)
        return -1;
    if (identity_policy(match, identity, policies, caller->policy_id, err) < 0)
        return -1;
    if (context_id_normalise(context ? context->value : (struct str){ 0 }, &context_id, err) < 0)
        return -1;
    if (!copy_text(caller->context_id, sizeof(caller->context_id), context_id))
        return error_set(err, ERR_INVALID, "context_id is too long");
    return 0;
}
