/* Cuts objects out of JSON that is still arriving, so that each can be parsed alone and freed before the next. Private to kubernetes/ (and its tests).
 *
 * Two forms: a stream of objects one after another (watch), and one object whose member "items" is an array of objects (list). Of the second, what
 * is not an item is gathered in `rest`, which is a small document of its own in the end. Only strings and brackets are looked at; whoever parses a piece
 * finds everything else that is wrong with it. One thread. */
#ifndef KUBERNETES_SPLIT_H
#define KUBERNETES_SPLIT_H

#include <jansson.h>

#include "base/buf.h"
#include "base/json.h"

/* etcd takes no object of more than 1.5 MiB. */
#define KUBE_PIECE_MAX (8u << 20)
#define KUBE_REST_MAX (1u << 20)

struct kube_splitter {
    bool list;                  /* the second form */
    bool in_string, escaped;
    bool in_items, ended;       /* list: inside the array; after the object */
    bool in_piece, too_deep;    /* a piece is under way; it nests too deep and is left out */
    char last;                  /* list: the last structural byte outside strings */
    unsigned depth;
    size_t key_len;             /* list: bytes of the last string at depth 1 that are in `key` */
    char key[8];
    struct buf piece, rest;
    unsigned skipped;           /* pieces that were too deep */
};

#define KUBE_SPLITTER_STREAM ((struct kube_splitter){ .piece = { .limit = KUBE_PIECE_MAX } })
#define KUBE_SPLITTER_LIST ((struct kube_splitter){ .list = true, .piece = { .limit = KUBE_PIECE_MAX }, .rest = { .limit = KUBE_REST_MAX } })

/* `each` gets every piece that `data` completes (bytes that live until it returns); false ends the feeding. 1: all was taken; 0: `each` said false; negative:
 * ERR_INVALID for what cannot be such a stream, ERR_LIMIT for a piece that is too long. */
int kube_split(struct kube_splitter *splitter, struct str data, bool (*each)(void *context, struct str piece), void *context,
               struct error *err) MUST_CHECK;
/* Whether the stream may end here: between objects, or after the list. */
bool kube_splitter_is_whole(const struct kube_splitter *splitter);
void kube_splitter_clear(struct kube_splitter *splitter);
#define cleanup_splitter __attribute__((cleanup(kube_splitter_clear)))

#endif
