/* The settings that the gateway uses while it runs: a counted immutable copy, because the settings themselves go away on SIGHUP. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include <stdatomic.h>

#include "settings/settings.h"

struct config {
    _Atomic unsigned references;
    bool access_log, metrics_auth, enable_ui;
    int64_t connect_timeout_ms, read_timeout_ms, write_timeout_ms, start_timeout_ms;
    struct text_list cors_origins;
};

struct config *config_new(const struct settings *settings) MUST_CHECK;
struct config *config_ref(struct config *config);
void config_unref(struct config *config);
/* What Access-Control-Allow-Origin says to a page of `origin`: that origin where it is named, "*" where only "*" is, empty where neither
 * is. Lives as long as `origin` and the config. */
struct str config_answer_to_origin(const struct config *config, struct str origin);

#endif
