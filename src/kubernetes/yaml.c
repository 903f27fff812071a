/* The part of YAML that configuration files use, as JSON values. Aliases are followed, within a limit on how much may come of it. */
#include <yaml.h>

#include "base/json.h"
#include "kubernetes/config_parts.h"

#define DEPTH_MAX 64
#define NODES_MAX 100000

struct conversion {
    yaml_document_t *document;
    unsigned nodes;             /* converted so far; an alias counts each time */
    struct error *err;
};

static json_t *convert(struct conversion *conversion, int id, unsigned depth);

static json_t *refuse(struct conversion *conversion, const yaml_node_t *node, const char *why)
{
    (void)error_set(conversion->err, ERR_INVALID, "line %zu, column %zu: %s", node->start_mark.line + 1, node->start_mark.column + 1, why);
    return NULL;
}

static json_t *convert_scalar(struct conversion *conversion, const yaml_node_t *node)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    struct str text = str_of((const char *)node->data.scalar.value, node->data.scalar.length);
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    for (size_t i = 0; plain && i < COUNT_OF(nulls); i++) {
        if (str_equal_text(text, nulls[i]))
            return json_null();
    }
    if (memchr(text.data, '\0', text.len))
        return refuse(conversion, node, "the text holds a NUL character");
    json_t *value = json_stringn(text.data, text.len);
    return value ? value : refuse(conversion, node, "the text is not UTF-8");
}

static json_t *convert_list(struct conversion *conversion, const yaml_node_t *node, unsigned depth)
{
    cleanup_json json_t *list = json_array();

    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        json_t *value = convert(conversion, *item, depth + 1);
        if (!value)
            return NULL;
        json_array_append_new(list, value);
    }
    return steal(&list);
}

static json_t *convert_map(struct conversion *conversion, const yaml_node_t *node, unsigned depth)
{
    cleanup_json json_t *map = json_object();

    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(conversion->document, pair->key);
        if (!key || key->type != YAML_SCALAR_NODE)
            return refuse(conversion, key ? key : node, "a key that is not a text");
        cleanup_free char *name = str_dup(str_of((const char *)key->data.scalar.value, key->data.scalar.length));
        if (strlen(name) != key->data.scalar.length || json_object_get(map, name))
            return refuse(conversion, key, "a key that is there twice, or holds a NUL character");
        json_t *value = convert(conversion, pair->value, depth + 1);
        if (!value)
            return NULL;
        if (json_object_set_new(map, name, value) < 0)
            return refuse(conversion, key, "a key that is not UTF-8");
    }
    return steal(&map);
}

static json_t *convert(struct conversion *conversion, int id, unsigned depth)
{
    const yaml_node_t *node = yaml_document_get_node(conversion->document, id);

    if (depth > DEPTH_MAX || ++conversion->nodes > NODES_MAX)
        return refuse(conversion, node, "too deep or too large");
    switch (node->type) {
    case YAML_SCALAR_NODE: return convert_scalar(conversion, node);
    case YAML_SEQUENCE_NODE: return convert_list(conversion, node, depth);
    case YAML_MAPPING_NODE: return convert_map(conversion, node, depth);
    case YAML_NO_NODE: break;
    }
    return refuse(conversion, node, "an unknown kind of value");
}

static json_t *convert_document(yaml_document_t *document, struct error *err)
{
    struct conversion conversion = { .document = document, .err = err };

    if (yaml_document_get_root_node(document))
        return convert(&conversion, 1, 0);
    (void)error_set(err, ERR_INVALID, "the file is empty");
    return NULL;
}

json_t *kube_yaml_read(struct str text, struct error *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    json_t *value = NULL;

    ASSERT(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.data ? text.data : ""), text.len);
    if (yaml_parser_load(&parser, &document)) {
        value = convert_document(&document, err);
        yaml_document_delete(&document);
    } else
        (void)error_set(err, ERR_INVALID, "line %zu, column %zu: %s", parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                        parser.problem ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return value;
}
