#include "base/secret.h"
#include "gateway/letter.h"
#include "gateway/token.h"

struct token_letter {
    struct letter letter;
    struct auth *auth;
    char *token;
    enum auth_result result;
    struct identity identity;
    struct error err;
    void (*done)(struct client *client, const struct identity *identity, const struct error *err);
};

static void token_work(struct letter *letter)
{
    struct token_letter *check = (struct token_letter *)letter;
    check->result = auth_verify_token(check->auth, str_from(check->token), &check->identity, &check->err);
}

static void token_arrived(struct letter *letter, struct client *client)
{
    struct token_letter *check = (struct token_letter *)letter;
    check->done(client, check->result == AUTH_OK ? &check->identity : NULL, &check->err);
}

static void token_clear(struct letter *letter)
{
    secret_free(((struct token_letter *)letter)->token);
}

bool token_verify(struct client *client, struct str token,
                  void (*done)(struct client *client, const struct identity *identity, const struct error *err))
{
    struct worker *worker = client->worker;
    struct token_letter *check = letter_new(worker, sizeof(*check));

    if (!check)
        return false;
    check->letter.work = token_work;
    check->letter.arrived = token_arrived;
    check->letter.clear = token_clear;
    check->auth = worker->options->auth;
    check->token = strndup(token.data ? token.data : "", token.len);
    check->done = done;
    letter_bind(&check->letter, client);
    return letter_submit(&check->letter, worker->options->token_pool);
}
