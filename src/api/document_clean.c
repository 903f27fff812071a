/* OpenAPI: a path item holds operations under the names of methods, beside members such as `parameters` that are none. */
#include "api/document_clean.h"

#include "base/json.h"

static void clean_path_item(json_t *item)
{
    static const char *const methods[] = { "get", "put", "post", "delete", "options", "head", "patch", "trace" };
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        json_object_del(json_object_get(item, methods[i]), "security");
}

void openapi_clean(json_t *spec)
{
    const char *path;
    json_t *item, *paths = json_object_get(spec, "paths");

    json_object_del(spec, "security");
    json_object_del(json_object_get(spec, "components"), "securitySchemes");
    json_object_foreach(paths, path, item)
        clean_path_item(item);
}
