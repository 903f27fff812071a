/* Errors as values: what class of thing went wrong, and a sentence for a person.
 *
 * A fallible function takes `struct error *err` as its last parameter and returns a negative number after
 * filling it. Callers add what they were doing with error_wrap(). One table maps classes to HTTP statuses and
 * to the `reason` words that clients see. Usable from every thread; an error belongs to its holder. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/defs.h"

enum error_class {
    ERR_NONE = 0,
    ERR_INVALID,            /* the caller's input is wrong */
    ERR_UNPROCESSABLE,      /* well-formed, of a wrong type or out of range (422) */
    ERR_UNAUTHORIZED,
    ERR_FORBIDDEN,
    ERR_NOT_FOUND,
    ERR_CONFLICT,           /* exists already, or is another's */
    ERR_LIMIT,              /* reason limit_reached: a quota of ours */
    ERR_TIMEOUT,
    ERR_UNAVAILABLE,        /* reason backend_unavailable: the engine or a peer cannot be reached */
    ERR_IMAGE_NOT_FOUND,    /* the image is missing and cannot be pulled */
    ERR_IMAGE_NOT_ALLOWED,
    ERR_NO_CAPACITY,        /* the engine or its network is full */
    ERR_UNSCHEDULABLE,
    ERR_START_TIMEOUT,
    ERR_GUEST_CRASHED,      /* the guest ended while starting */
    ERR_STARTING,           /* not yet ready; the start goes on */
    ERR_INVALID_POLICY,     /* a stored policy that cannot be resolved */
    ERR_IO,                 /* a file or the database */
    ERR_INTERNAL,           /* ours */
    ERR_CLASS_COUNT
};

struct error {
    enum error_class class;
    char text[768];         /* NUL-terminated UTF-8, cut at a character's border when too long */
};

/* Fills `err` (NULL is allowed) and returns -1. */
int error_set(struct error *err, enum error_class class, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "<what>: " before the text that `err` holds; the class stays. Returns -1. */
int error_wrap(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* error_set() with ": <strerror(number)>" appended. Returns -1. */
int error_set_errno(struct error *err, enum error_class class, int number, const char *format, ...) PRINTF_LIKE(4, 5);

/* The HTTP status that a client gets for this class. */
int error_http_status(enum error_class class);

/* The `reason` word of a 503/422 answer (orchestrator.md §2.6), or NULL where the class has none. */
const char *error_reason(enum error_class class);

/* A name for logs and metrics, such as "image_not_found". Never NULL. */
const char *error_class_name(enum error_class class);

/* Whether the same attempt may succeed later without anybody changing anything. */
bool error_is_temporary(enum error_class class);

#endif
