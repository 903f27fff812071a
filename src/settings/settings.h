/* Every TERMINALS_ variable, read once into an immutable object (orchestrator.md §5). One table in settings.c says
 * for each its name, aliases, type, default, check and help text; `terminals config` prints from the same table.
 *
 * Loaded on the main thread at start and again on SIGHUP; an object never changes after that and may be read from
 * every thread while its holder keeps it. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

enum backend_kind { BACKEND_DOCKER, BACKEND_KUBERNETES, BACKEND_KUBERNETES_OPERATOR };

/* A list of texts; owned by the settings. */
struct text_list {
    char **items;
    size_t count;
};

/* One entry of TERMINALS_DOCKER_MOUNTS, checked. */
struct docker_mount {
    char *source, *target;
    bool read_only;
};

struct settings {
    enum backend_kind backend;
    char *state_dir;                    /* where the database and the generated key live; absolute */
    char *database_url;                 /* as given or the default; secrets inside */

    /* gateway */
    char *host;
    bool host_is_named;                 /* the user named it: open mode may then leave loopback */
    unsigned port;
    unsigned workers;
    bool enable_ui;
    bool access_log;
    bool metrics_auth;
    struct text_list cors_allowed_origins;
    unsigned connect_timeout_s, read_timeout_s, write_timeout_s, pool_timeout_s;
    unsigned start_timeout_s;
    unsigned max_connections;           /* client connections in all; 0 = from RLIMIT_NOFILE */
    unsigned max_unauthenticated_websockets;            /* in all */
    unsigned max_unauthenticated_websockets_per_address;

    /* who may call */
    struct text_list api_keys;          /* trimmed; empty: none was given */
    char *open_webui_url;               /* without trailing slashes; NULL: not in JWT mode */
    bool open;
    unsigned token_cache_ttl_s;         /* 0: never cached */

    /* terminals */
    char *image;
    char *max_cpu, *max_memory, *max_storage;           /* NULL: no cap; checked to parse */
    struct text_list allowed_images;    /* shell globs; empty: all */
    int64_t idle_timeout_minutes;       /* ≤ 0: never */
    unsigned idle_cleanup_timeout_s;
    unsigned refresh_idle_s;
    unsigned status_cache_ttl_s;
    unsigned max_terminals;             /* 0: no limit of our own */
    unsigned max_terminals_per_user;    /* 0: no limit */
    unsigned max_starts;                /* side by side; 0: what the backend does best */
    char *system_prompt;                /* our own OPEN_TERMINAL_SYSTEM_PROMPT, or NULL */
    bool restricted;                    /* TERMINALS_KUBERNETES_RESTRICTED; the checks apply on every backend */

    /* docker */
    char *docker_address;               /* TERMINALS_DOCKER_HOST: where published ports are reached */
    struct text_list docker_networks;   /* empty: the managed network */
    struct docker_mount *docker_mounts;
    size_t docker_mount_count;
    char *docker_data_dir;              /* NULL: named volumes */
    char *docker_host_data_dir;         /* the same directory as the engine's host sees it; NULL: the same path */

    /* kubernetes: kept here so that their values are checked from the first day */
    char *kubernetes_namespace, *kubernetes_image, *kubernetes_storage_class, *kubernetes_storage_size,
        *kubernetes_storage_mode, *kubernetes_service_type, *kubernetes_kubeconfig, *kubernetes_address,
        *kubernetes_crd_group, *kubernetes_crd_version;
    bool kubernetes_network_policy;     /* guests are fenced in by a NetworkPolicy of ours */
    unsigned kubernetes_unschedulable_s;        /* how long a pod may find no node before its start fails */
    unsigned kubernetes_relist_s;               /* how often everything is listed although the watches tell of changes */
    json_t *kubernetes_labels, *kubernetes_pod_security_context, *kubernetes_container_security_context,
        *kubernetes_node_selector, *kubernetes_tolerations;
    struct text_list operator_namespaces;       /* empty: kubernetes_namespace only */
    unsigned operator_port;
    unsigned operator_pvc_retention_hours;      /* 0: homes are kept for ever */

    enum log_level log_level;
    bool log_json;

    bool ignored_ws_compression, ignored_replay_body_limit;     /* only for the warnings */
    struct setting_source *sources;     /* one a row of the table: the texts, and where they came from */
};

/* Options of the command line that stand above the environment; NULL or negative = not given. */
struct settings_options {
    const char *host, *api_key;
    int64_t port, workers;
    bool open;
    bool look_only;                     /* makes no state directory, only says whether it could be made */
};

/* Reads the environment, `.env` in the working directory (the environment wins, also with an empty value) and `options` (may be
 * NULL), and makes the state directory if it is missing. Empty values count as not given: the default holds.
 * All mistakes are found in one go: on failure NULL, and `problems` holds one line for each, with the variable, its value
 * and what is allowed. `warnings` gets a line for each accepted but ignored value and each unknown name. The caller
 * frees the result. */
struct settings *settings_load(const struct settings_options *options, struct buf *problems, struct buf *warnings)
    MUST_CHECK;
void settings_free(struct settings *settings);

/* The effective settings, one `NAME=value` line each in the table's order, secrets masked, defaults marked. */
void settings_print(const struct settings *settings, FILE *out);

/* The rows of the table, for documentation (`terminals config --help`, the README's table): name, default, help. */
void settings_print_help(FILE *out);

/* After SIGHUP: a line in `warnings` for each setting that differs and needs a restart to take effect. */
void settings_warn_restart(const struct settings *running, const struct settings *fresh, struct buf *warnings);

#endif
