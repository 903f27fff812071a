/* User and context ids, policy ids and the names made of them: the input is "user\ncontext\npolicy". */
#include "backend/key.h"
#include "fuzz.h"

static void check_name(const char *name)
{
    size_t len = strlen(name);

    ASSERT(len > 0 && len <= 63 && name[len - 1] != '-' && !strstr(name, "--"));
    ASSERT(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len);
}

static void check_key(struct str user, struct str policy, struct str context)
{
    struct terminal_key *key = terminal_key_new(user, policy, context);
    char name[TERMINAL_NAME_SIZE];

    ASSERT(strlen(key->user_id) == user.len && strlen(key->context_id) == context.len);
    ASSERT(key->user_id[0] != '/' && !strchr(key->user_id, ':') && strcmp(key->user_id, "..") != 0);
    terminal_name(key, "terminals-", name);
    check_name(name);
    terminal_legacy_name(key, "terminals-", name);
    ASSERT(strlen(name) < TERMINAL_NAME_SIZE);
    terminal_key_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of((const char *)data, size), user = { NULL, 0 }, given = { NULL, 0 }, policy = { NULL, 0 }, context;
    struct error err = { 0 };

    (void)str_next_part(&rest, '\n', &user);
    (void)str_next_part(&rest, '\n', &given);
    (void)str_next_part(&rest, '\n', &policy);
    if (user_id_check(user, &err) < 0 || context_id_normalise(given, &context, &err) < 0) {
        ASSERT(err.class == ERR_INVALID && err.text[0]);
        return 0;
    }
    if (memchr(policy.data ? policy.data : "", '\0', policy.len) == NULL)
        check_key(user, policy, context);
    return 0;
}
