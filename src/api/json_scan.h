/* Says what is wrong with a text that is not JSON, in the words and with the position that clients of the original program know. */
#ifndef API_JSON_SCAN_H
#define API_JSON_SCAN_H

#include "base/str.h"

struct json_fault {
    const char *message;    /* a literal, such as "Expecting value" */
    size_t position;        /* in characters, not bytes */
    bool too_deep;          /* nested deeper than we read; `message` and `position` say nothing */
};

/* `text` is UTF-8. False: it found nothing wrong. */
bool json_scan(struct str text, struct json_fault *fault);

#endif
