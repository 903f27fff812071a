/* Answers of the control plane: JSON bodies and the two shapes of an error, {"detail": "text"} and {"detail": [problems]}.
 * For the handlers only; a response belongs to the thread that handles its request. */
#ifndef API_ANSWER_H
#define API_ANSWER_H

#include "api/api.h"
#include "base/json.h"

/* All of them fill `response` once. Takes `body` over. */
void api_answer_json(struct api_response *response, int status, json_t *body);
/* {"detail": text} */
void api_answer_detail(struct api_response *response, int status, const char *format, ...) PRINTF_LIKE(3, 4);
/* {"detail": err->text} with the status of its class, and Retry-After where trying again may help. */
void api_answer_error(struct api_response *response, const struct error *err);
/* 422 with the array of problems, which it takes over. */
void api_answer_problems(struct api_response *response, json_t *problems);

#endif
