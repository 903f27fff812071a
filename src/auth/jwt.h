/* The claims of a JSON Web Token, without any check of its signature: for tokens that somebody else has proven. Pure functions. Of use
 * only inside this module. */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include <jansson.h>

#include "base/str.h"

/* The payload as an object that the caller owns, or NULL when the text is not a token. */
json_t *jwt_read_claims(struct str token) MUST_CHECK;

#endif
