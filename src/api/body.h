/* The body of a control-plane request: which content types are JSON, and what a request without an object is told. */
#ifndef API_BODY_H
#define API_BODY_H

#include "api/api.h"
#include "base/json.h"

/* The JSON object that the request carries; the caller owns it. NULL: `response` is filled with the refusal. */
json_t *body_read_object(const struct api_request *request, struct api_response *response) MUST_CHECK;

#endif
