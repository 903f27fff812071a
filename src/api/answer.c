/* Everything that leaves the control plane is written here, so that no handler can leave a response half filled. */
#include "api/answer.h"

#include <stdarg.h>

/* How long a client should wait when the engine or the database is away for a moment. */
#define RETRY_AFTER_S 5

void api_answer_json(struct api_response *response, int status, json_t *body)
{
    cleanup_json json_t *owned = body;
    cleanup_free char *text = owned ? json_write(owned) : NULL;

    response->status = text ? status : 500;
    response->content_type = "application/json";
    buf_append_text(&response->body, text ? text : "{\"detail\":\"Internal Server Error\"}");
}

void api_answer_detail(struct api_response *response, int status, const char *format, ...)
{
    struct buf text = { 0 };
    va_list args;

    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    api_answer_json(response, status, json_pack("{s:s%}", "detail", text.data ? text.data : "", text.len));
    buf_free(&text);
}

void api_answer_error(struct api_response *response, const struct error *err)
{
    api_answer_detail(response, error_http_status(err->class), "%s", err->text);
    if (error_is_temporary(err->class))
        response->retry_after_s = RETRY_AFTER_S;
}

void api_answer_problems(struct api_response *response, json_t *problems)
{
    api_answer_json(response, 422, json_pack("{s:o}", "detail", problems));
}

void api_response_clear(struct api_response *response)
{
    free(response->next_cursor);
    response->next_cursor = NULL;
    buf_free(&response->body);
}
