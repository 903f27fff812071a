/* A non-blocking socket that is registered once, edge-triggered: its flags remember what the edges told, and what its peer did not take
 * at once waits in `out`, which exists only while it holds bytes. Owner: one worker. */
#ifndef GATEWAY_STREAM_H
#define GATEWAY_STREAM_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/list.h"

struct worker;

struct stream {
    int fd;                         /* -1: closed */
    bool readable, writable;
    bool hangup;                    /* the peer has shut down its side, or the connection broke */
    bool broken;                    /* both directions are over */
    bool failed;                    /* an error; nothing more can be sent */
    bool sent;                      /* some byte was taken by the kernel since this was last cleared */
    struct buf out;
    size_t out_sent;                /* bytes of `out` that are gone */
    void (*ready)(struct stream *stream);   /* called after the flags changed */
    struct list again;              /* in worker->again: to be called without an event */
};

#define STREAM_AGAIN 0              /* nothing more now */
#define STREAM_EOF (-1)
#define STREAM_ERROR (-2)

void stream_init(struct stream *stream, int fd, void (*ready)(struct stream *stream));
/* Closes the socket and drops what waits. The memory may be named by events of the same batch: see worker_bury(). */
void stream_close(struct stream *stream);
/* Bytes read (> 0) or one of the three above. A short read clears `readable`: the next bytes bring an edge. */
ssize_t stream_read(struct stream *stream, void *data, size_t size) MUST_CHECK;
/* Sends all, or keeps in `out` what does not go now. False: the connection is broken, or there is no memory. */
bool stream_write(struct stream *stream, const struct iovec *parts, size_t count) MUST_CHECK;
bool stream_write_str(struct stream *stream, struct str data) MUST_CHECK;
/* Tries to send what waits. False: the connection is broken. */
bool stream_flush(struct stream *stream) MUST_CHECK;
static inline bool stream_has_output(const struct stream *stream) { return stream->out.len > stream->out_sent; }
/* TCP_NODELAY; on Unix sockets nothing. */
void stream_set_no_delay(int fd);
/* Finds dead peers: probes after 30 s of silence, 30 s apart, 3 of them; and as long for bytes that are not acknowledged, since then there are no probes. */
void stream_set_keep_alive(int fd);

#endif
