#include "gateway/config.h"

struct config *config_new(const struct settings *settings)
{
    struct config *config = xcalloc(1, sizeof(*config));
    config->references = 1;
    config->access_log = settings->access_log;
    config->metrics_auth = settings->metrics_auth;
    config->enable_ui = settings->enable_ui;
    config->connect_timeout_ms = (int64_t)settings->connect_timeout_s * 1000;
    config->read_timeout_ms = (int64_t)settings->read_timeout_s * 1000;
    config->write_timeout_ms = (int64_t)settings->write_timeout_s * 1000;
    config->start_timeout_ms = (int64_t)settings->start_timeout_s * 1000;
    config->cors_origins.count = settings->cors_allowed_origins.count;
    config->cors_origins.items = xcalloc(config->cors_origins.count + 1, sizeof(char *));
    for (size_t i = 0; i < config->cors_origins.count; i++)
        config->cors_origins.items[i] = xstrdup(settings->cors_allowed_origins.items[i]);
    return config;
}

struct config *config_ref(struct config *config)
{
    atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
    return config;
}

void config_unref(struct config *config)
{
    if (!config || atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < config->cors_origins.count; i++)
        free(config->cors_origins.items[i]);
    free(config->cors_origins.items);
    free(config);
}

struct str config_answer_to_origin(const struct config *config, struct str origin)
{
    struct str answer = { 0 };

    for (size_t i = 0; i < config->cors_origins.count; i++) {
        if (str_equal_text(origin, config->cors_origins.items[i]))
            return origin;
        if (str_equal_text(STR_LITERAL("*"), config->cors_origins.items[i]))
            answer = STR_LITERAL("*");
    }
    return answer;
}
