/* Lists in pages. Items are parsed and handed over one by one while a page still arrives, so that a page costs the memory of one object. */
#include "base/json.h"
#include "base/log.h"
#include "kubernetes/object.h"
#include "kubernetes/request.h"
#include "kubernetes/split.h"

#define MAX_RESTARTS 3

struct page {
    const struct kube_listing *listing;
    struct kube_splitter splitter;
    bool stopped;               /* each() wants no more */
    bool failed;                /* and `err` (may be NULL) says why */
    struct error *err;
};

static bool take_item(void *context, struct str piece)
{
    struct page *page = context;
    struct error why;
    cleanup_json json_t *object = json_read_lenient(piece, &why);

    if (!object) {
        log_warning("left out an object that cannot be read", LOG_ERR(&why));
        return true;
    }
    return page->listing->each(page->listing->context, object);
}

static bool take_data(void *context, struct str data)
{
    struct page *page = context;
    int result = kube_split(&page->splitter, data, take_item, page, page->err);

    page->stopped = result == 0;
    page->failed = result < 0;
    return result > 0;
}

static bool is_cancelled(void *context)
{
    struct page *page = context;
    return page->listing->cancelled && page->listing->cancelled(page->listing->context);
}

static int read_envelope(struct page *page, json_t **envelope, struct error *err)
{
    if (!kube_splitter_is_whole(&page->splitter))
        return error_set(err, ERR_UNAVAILABLE, "the list ends in the middle");
    if (page->splitter.skipped)
        log_warning("left out objects that nest too deep", LOG_INT("count", page->splitter.skipped));
    *envelope = json_read_lenient(buf_str(&page->splitter.rest), err);
    return *envelope ? 0 : -1;
}

/* One page. `*envelope` is what surrounds its items; NULL when each() ended the listing. */
static int fetch_page(struct kube_client *client, const struct kube_request *pattern, const struct kube_listing *listing,
                      json_t **envelope, struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };
    struct page page = { .listing = listing, .splitter = KUBE_SPLITTER_LIST, .err = err };
    struct kube_request request = *pattern;
    struct error why = { 0 };
    int result;

    request.on_data = take_data;
    request.cancelled = is_cancelled;
    request.context = &page;
    result = kube_request_run(client, &request, &answer, &why);
    *envelope = NULL;
    if (result == 0)
        result = read_envelope(&page, envelope, err);
    else if (page.stopped)
        result = 0;
    else if (!page.failed && err)
        *err = why;
    kube_splitter_clear(&page.splitter);
    return result;
}

static int page_path(struct kube_client *client, const struct kube_target *target, const char *selector, const char *token,
                     struct buf *path, struct error *err)
{
    char limit[16];

    if (kube_path(target, path, err) < 0)
        return -1;
    (void)snprintf(limit, sizeof(limit), "%u", client->page_size);
    kube_path_query(path, "limit", limit);
    if (selector && *selector)
        kube_path_query(path, "labelSelector", selector);
    if (token)
        kube_path_query(path, "continue", token);
    return 0;
}

/* All pages of one snapshot. */
static int list_once(struct kube_client *client, const struct kube_target *target, const char *selector, const struct kube_listing *listing,
                     char resource_version[static 64], struct error *err)
{
    cleanup_free char *token = NULL;

    if (listing->begin)
        listing->begin(listing->context);
    do {
        cleanup_buf struct buf path = { 0 };
        cleanup_json json_t *envelope = NULL;
        if (page_path(client, target, selector, token, &path, err) < 0)
            return -1;
        struct kube_request request = { .operation = KUBE_OP_LIST, .method = "GET", .path = path.data, .target = target };
        if (fetch_page(client, &request, listing, &envelope, err) < 0)
            return -1;
        const char *version = kube_text_at(envelope, "metadata", "resourceVersion", NULL);
        const char *next = kube_text_at(envelope, "metadata", "continue", NULL);
        (void)snprintf(resource_version, 64, "%s", version ? version : "");
        free(token);
        token = next && *next ? xstrdup(next) : NULL;
    } while (token);
    return 0;
}

int kube_list_run(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
                  const struct kube_listing *listing, char resource_version[static 64], struct error *err)
{
    struct kube_target target = { .resource = resource, .namespace = namespace };
    struct error why = { 0 };

    for (int attempt = 0; attempt <= MAX_RESTARTS; attempt++) {
        if (list_once(client, &target, selector, listing, resource_version, &why) == 0)
            return 0;
        /* The snapshot of the earlier pages is gone (410): the pages of a new one do not fit to them. */
        if (!kube_error_is_expired(&why))
            break;
    }
    if (err)
        *err = why;
    return -1;
}

int kube_list(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
              kube_each_fn *each, void *context, char resource_version[static 64], struct error *err)
{
    struct kube_listing listing = { .each = each, .context = context };

    return kube_list_run(client, resource, namespace, selector, &listing, resource_version, err);
}
