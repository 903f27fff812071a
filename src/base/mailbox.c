/* Posted mail forms a stack that many push to with one compare-and-swap; the reader takes the whole stack at once and turns it
 * around. The event descriptor is written only when the stack was empty. Closing puts a mark on the stack that posters see. */
#include "base/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

struct mailbox {
    _Atomic(struct mail *) newest;
    _Atomic unsigned references;
    int fd;
};

static struct mail closed;      /* its address is the mark; nothing is read from it */

struct mailbox *mailbox_new(void)
{
    struct mailbox *mailbox = xcalloc(1, sizeof *mailbox);
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(mailbox->fd >= 0);
    atomic_store(&mailbox->references, 1);
    return mailbox;
}

struct mailbox *mailbox_ref(struct mailbox *mailbox)
{
    atomic_fetch_add(&mailbox->references, 1);
    return mailbox;
}

void mailbox_unref(struct mailbox *mailbox)
{
    if (!mailbox || atomic_fetch_sub(&mailbox->references, 1) > 1)
        return;
    if (atomic_load(&mailbox->newest) != &closed)
        mailbox_close(mailbox);
    (void)close(mailbox->fd);
    free(mailbox);
}

int mailbox_fd(const struct mailbox *mailbox) { return mailbox->fd; }

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    struct mail *newest = atomic_load(&mailbox->newest);
    do {
        if (newest == &closed) {
            mail->discard(mail);
            return;
        }
        mail->next = newest;
    } while (!atomic_compare_exchange_weak(&mailbox->newest, &newest, mail));
    if (newest == NULL) {
        uint64_t one = 1;
        while (write(mailbox->fd, &one, sizeof one) < 0 && errno == EINTR)
            continue;
    }
}

/* Takes all mail, oldest first, leaving `left` behind. */
static struct mail *take_all(struct mailbox *mailbox, struct mail *left)
{
    struct mail *newest = atomic_exchange(&mailbox->newest, left);
    struct mail *oldest = NULL;
    while (newest && newest != &closed) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void mailbox_deliver(struct mailbox *mailbox, void *reader)
{
    uint64_t count;
    if (read(mailbox->fd, &count, sizeof count) < 0 && atomic_load(&mailbox->newest) == NULL)
        return;
    struct mail *next;
    for (struct mail *mail = take_all(mailbox, NULL); mail; mail = next) {
        next = mail->next;
        mail->deliver(mail, reader);
    }
}

void mailbox_close(struct mailbox *mailbox)
{
    struct mail *next;
    for (struct mail *mail = take_all(mailbox, &closed); mail; mail = next) {
        next = mail->next;
        mail->discard(mail);
    }
}
