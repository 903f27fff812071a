/* What a guest printed last, fit for a person's terminal. Pure. */
#ifndef BACKEND_LOG_TAIL_H
#define BACKEND_LOG_TAIL_H

#include "base/str.h"

/* The end of a log, `most` bytes of it at most and whole lines where it can be, without escape sequences, control characters and what init
 * processes say of themselves. The caller frees. */
char *log_tail(struct str text, size_t most) MUST_CHECK;

#endif
