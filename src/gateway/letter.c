#include "gateway/letter.h"

static void letter_deliver(struct mail *mail, void *reader)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    struct client *client = letter->client;

    if (client) {
        client->letter = NULL;
        letter->client = NULL;
        if (client->head_len > 0)
            client_parse_again(client);
        letter->arrived(letter, client);
        client_run(client);
    } else if (letter->unwanted) {
        letter->unwanted(letter, reader);
    }
    letter_free(letter);
}

static void letter_discard(struct mail *mail)
{
    letter_free(CONTAINER_OF(mail, struct letter, mail));
}

void *letter_new(struct worker *worker, size_t size)
{
    struct letter *letter = calloc(1, size);
    if (!letter)
        return NULL;
    letter->mail.deliver = letter_deliver;
    letter->mail.discard = letter_discard;
    letter->mailbox = mailbox_ref(worker->mailbox);
    return letter;
}

void letter_free(struct letter *letter)
{
    if (letter->client)
        letter->client->letter = NULL;
    if (letter->clear)
        letter->clear(letter);
    mailbox_unref(letter->mailbox);
    free(letter);
}

void letter_bind(struct letter *letter, struct client *client)
{
    ASSERT(client->letter == NULL);
    letter->client = client;
    client->letter = letter;
}

static void run_work(void *argument)
{
    struct letter *letter = argument;
    letter->work(letter);
    letter_post(letter);
}

bool letter_submit(struct letter *letter, struct pool *pool)
{
    if (pool_submit(pool, run_work, letter))
        return true;
    letter_free(letter);
    return false;
}

void letter_post(struct letter *letter)
{
    /* The reader may free the letter, and its reference with it, before the post has returned. */
    struct mailbox *mailbox = mailbox_ref(letter->mailbox);
    mailbox_post(mailbox, &letter->mail);
    mailbox_unref(mailbox);
}
