/* The admin page's files, put into the program when it is built. Immutable, any thread. */
#ifndef GATEWAY_PAGE_H
#define GATEWAY_PAGE_H

#include "base/str.h"

struct page_file {
    const char *path;               /* as requested, such as "/_app/app.js"; the page itself is "/" */
    const char *content_type;
    const unsigned char *data;
    size_t len;
};

/* NULL: no such file. */
const struct page_file *page_find(struct str path);

#endif
