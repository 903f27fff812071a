/* What a guest's own answer becomes before it is shown to everyone. Pure functions. */
#ifndef API_DOCUMENT_CLEAN_H
#define API_DOCUMENT_CLEAN_H

#include <jansson.h>

/* Removes `security`, `components.securitySchemes` and each operation's `security`: callers authenticate with us, not with the
 * guest. The order of members stays. */
void openapi_clean(json_t *spec);

#endif
