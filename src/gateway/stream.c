/* Reading and writing of one socket. A write goes straight to the kernel; only the rest that it does not take is copied. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "gateway/stream.h"

void stream_init(struct stream *stream, int fd, void (*ready)(struct stream *stream))
{
    *stream = (struct stream){ .fd = fd, .ready = ready };
    list_init(&stream->again);
}

void stream_close(struct stream *stream)
{
    if (stream->fd >= 0)
        (void)close(stream->fd);
    stream->fd = -1;
    stream->readable = stream->writable = false;
    buf_free(&stream->out);
    stream->out_sent = 0;
    list_remove(&stream->again);
}

ssize_t stream_read(struct stream *stream, void *data, size_t size)
{
    ssize_t got;
    do
        got = recv(stream->fd, data, size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        if ((size_t)got < size && !stream->hangup)
            stream->readable = false;
        return got;
    }
    stream->readable = false;
    if (got == 0) {
        stream->hangup = true;
        return STREAM_EOF;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return STREAM_AGAIN;
    stream->failed = true;
    return STREAM_ERROR;
}

/* Sends as much as goes; the number of bytes, or -1 when the connection is broken. */
static ssize_t send_now(struct stream *stream, const struct iovec *parts, size_t count)
{
    struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = count };
    ssize_t sent;
    do
        sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        stream->sent = true;
        return sent;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        stream->writable = false;
        return 0;
    }
    stream->failed = true;
    return -1;
}

/* Copies what is left of `parts` after the first `sent` bytes. */
static bool keep_rest(struct stream *stream, const struct iovec *parts, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        if (sent >= parts[i].iov_len) {
            sent -= parts[i].iov_len;
            continue;
        }
        if (!buf_append(&stream->out, (const char *)parts[i].iov_base + sent, parts[i].iov_len - sent)) {
            stream->failed = true;
            return false;
        }
        sent = 0;
    }
    return true;
}

bool stream_write(struct stream *stream, const struct iovec *parts, size_t count)
{
    size_t total = 0;
    ssize_t sent = 0;

    if (stream->failed || stream->fd < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total == 0)
        return true;
    if (!stream_has_output(stream)) {
        sent = send_now(stream, parts, count);
        if (sent < 0)
            return false;
        if ((size_t)sent == total)
            return true;
        stream->writable = false;
    }
    return keep_rest(stream, parts, count, (size_t)sent);
}

bool stream_write_str(struct stream *stream, struct str data)
{
    struct iovec part = { (void *)data.data, data.len };
    return stream_write(stream, &part, 1);
}

bool stream_flush(struct stream *stream)
{
    if (stream->failed)
        return false;
    while (stream_has_output(stream)) {
        struct iovec part = { stream->out.data + stream->out_sent, stream->out.len - stream->out_sent };
        ssize_t sent = send_now(stream, &part, 1);
        if (sent < 0)
            return false;
        stream->out_sent += (size_t)sent;
        if ((size_t)sent < part.iov_len) {
            stream->writable = false;
            return true;
        }
    }
    buf_free(&stream->out);
    stream->out_sent = 0;
    return true;
}

void stream_set_no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void stream_set_keep_alive(int fd)
{
    int on = 1, seconds = 30, probes = 3;
    unsigned unacknowledged_ms = 120000;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof(unacknowledged_ms));
}
