/* A pod template under the generated pod, row by row; values of labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"
#include "kubernetes/object.h"

struct row {
    const char *name, *generated, *template, *merged;
};

static json_t *read_json(const char *name, const char *text)
{
    cleanup_free char *json = xstrdup(text);
    struct error err = { 0 };
    json_t *value;

    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    value = json_read(str_from(json), &err);
    if (!value)
        fail_msg("%s: %s: %s", name, err.text, json);
    return value;
}

static void the_template_lies_under_the_generated_pod(void **state)
{
    static const struct row rows[] = {
        { "nothing", "{'a':1}", "{}", "{'a':1,'metadata':{}}" },
        { "no object", "{'a':1}", "[1]", "{'a':1,'metadata':{}}" },
        { "null", "{'a':1}", "null", "{'a':1,'metadata':{}}" },
        { "a generated scalar wins", "{'spec':{'a':'ours'}}", "{'spec':{'a':'theirs','b':2}}", "{'spec':{'a':'ours','b':2},'metadata':{}}" },
        { "a generated scalar wins over an object", "{'spec':{'a':1}}", "{'spec':{'a':{'b':1}}}", "{'spec':{'a':1},'metadata':{}}" },
        { "a generated object wins over a scalar", "{'spec':{'a':{'b':1}}}", "{'spec':{'a':1}}", "{'spec':{'a':{'b':1}},'metadata':{}}" },
        { "null takes nothing away", "{'spec':{'a':{'b':1}}}", "{'spec':{'a':null,'c':null}}", "{'spec':{'a':{'b':1}},'metadata':{}}" },
        { "labels and annotations are added to, not changed", "{'metadata':{'name':'n','labels':{'user':'u'}}}",
          "{'metadata':{'labels':{'user':'x','team':'t'},'annotations':{'a':'b'}}}",
          "{'metadata':{'name':'n','labels':{'user':'u','team':'t'},'annotations':{'a':'b'}}}" },
        { "name, namespace, owners and finalizers are ours", "{'metadata':{'name':'n'}}",
          "{'metadata':{'name':'x','namespace':'kube-system','ownerReferences':[{'uid':'1'}],'finalizers':['f'],'generateName':'g'},'status':{'phase':'Running'}}",
          "{'metadata':{'name':'n'}}" },
        { "containers merge by name", "{'spec':{'containers':[{'name':'open-terminal','image':'ours'}]}}",
          "{'spec':{'containers':[{'name':'side','image':'s'},{'name':'open-terminal','image':'theirs','tty':true}]}}",
          "{'spec':{'containers':[{'name':'open-terminal','image':'ours','tty':true},{'name':'side','image':'s'}]},'metadata':{}}" },
        { "containers of one side only", "{'spec':{'containers':[{'name':'a'}]}}", "{'spec':{'initContainers':[{'name':'i'}]}}",
          "{'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i'}]},'metadata':{}}" },
        { "elements without a name are added", "{'spec':{'containers':[{'name':'a'}]}}", "{'spec':{'containers':[{'image':'x'},7]}}",
          "{'spec':{'containers':[{'name':'a'},{'image':'x'}]},'metadata':{}}" },
        { "a variable has one source", "{'spec':{'containers':[{'name':'a','env':[{'name':'K','valueFrom':{'secretKeyRef':{'name':'s'}}}]}]}}",
          "{'spec':{'containers':[{'name':'a','env':[{'name':'K','value':'stolen'},{'name':'L','value':'l'}]}]}}",
          "{'spec':{'containers':[{'name':'a','env':[{'name':'K','valueFrom':{'secretKeyRef':{'name':'s'}}},{'name':'L','value':'l'}]}]},'metadata':{}}" },
        { "a volume has one source", "{'spec':{'volumes':[{'name':'home','persistentVolumeClaim':{'claimName':'c'}}]}}",
          "{'spec':{'volumes':[{'name':'home','hostPath':{'path':'/'}},{'name':'more','emptyDir':{}}]}}",
          "{'spec':{'volumes':[{'name':'home','persistentVolumeClaim':{'claimName':'c'}},{'name':'more','emptyDir':{}}]},'metadata':{}}" },
        { "mounts merge by name: no other view of a generated volume",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user','subPath':'bob'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':["
          "{'name':'home','mountPath':'/all'},{'name':'home','mountPath':'/more'},{'name':'home','mountPath':'/home/user','subPath':'eve'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user','subPath':'bob'}]}]},'metadata':{}}" },
        { "a generated mount is added to",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPropagation':'HostToContainer'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':["
          "{'name':'home','mountPath':'/home/user','mountPropagation':'HostToContainer'}]}]},'metadata':{}}" },
        { "a mount has one folder",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user','subPath':'bob'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','subPathExpr':'$(X)'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user','subPath':'bob'}]}]},'metadata':{}}" },
        { "a path has one mount",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'evil','mountPath':'/home/user'},{'name':'m','mountPath':'/m'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':["
          "{'name':'home','mountPath':'/home/user'},{'name':'m','mountPath':'/m'}]}]},'metadata':{}}" },
        { "several mounts of one volume of the template",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'home','mountPath':'/home/user'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'m','mountPath':'/m'},{'name':'m','mountPath':'/n','subPath':'n'}]}]}}",
          "{'spec':{'containers':[{'name':'a','volumeMounts':["
          "{'name':'home','mountPath':'/home/user'},{'name':'m','mountPath':'/m'},{'name':'m','mountPath':'/n','subPath':'n'}]}]},'metadata':{}}" },
        { "ports merge by name, and by number where they have none",
          "{'spec':{'containers':[{'name':'a','ports':[{'name':'http','containerPort':8000}]}]}}",
          "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':8000},{'containerPort':8000,'protocol':'UDP'},{'name':'http','hostPort':1}]}]}}",
          "{'spec':{'containers':[{'name':'a','ports':[{'name':'http','containerPort':8000,'hostPort':1},{'containerPort':8000,'protocol':'UDP'}]}]},"
          "'metadata':{}}" },
        { "a probe has one way", "{'spec':{'containers':[{'name':'a','readinessProbe':{'httpGet':{'port':8000},'periodSeconds':1}}]}}",
          "{'spec':{'containers':[{'name':'a','readinessProbe':{'exec':{'command':['x']},'periodSeconds':9,'timeoutSeconds':5}}]}}",
          "{'spec':{'containers':[{'name':'a','readinessProbe':{'httpGet':{'port':8000},'periodSeconds':1,'timeoutSeconds':5}}]},'metadata':{}}" },
        { "other lists are whole", "{'spec':{'tolerations':[{'key':'a'}]}}", "{'spec':{'tolerations':[{'key':'b'}],'imagePullSecrets':[{'name':'r'}]}}",
          "{'spec':{'tolerations':[{'key':'a'}],'imagePullSecrets':[{'name':'r'}]},'metadata':{}}" },
        { "a list where the template has an object", "{'spec':{'containers':[{'name':'a'}]}}", "{'spec':{'containers':{'name':'x'}}}",
          "{'spec':{'containers':[{'name':'a'}]},'metadata':{}}" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *generated = read_json(rows[i].name, rows[i].generated), *template = read_json(rows[i].name, rows[i].template);
        cleanup_json json_t *before = json_deep_copy(template), *wanted = read_json(rows[i].name, rows[i].merged);
        cleanup_json json_t *merged = kube_merge_template(generated, template);
        cleanup_free char *text = json_write(merged);
        if (!json_object_get(wanted, "metadata"))
            fail_msg("%s: the row has no metadata", rows[i].name);
        if (!json_equal(merged, wanted))
            fail_msg("%s: %s", rows[i].name, text);
        assert_true(json_equal(before, template));
    }
}

static void label_values_are_valid_or_hashed(void **state)
{
    static const struct {
        const char *value, *label;      /* how it begins; NULL: as it is */
    } rows[] = {
        { "", NULL }, { "a", NULL }, { "A-b_c.9", NULL },
        { "123456789012345678901234567890123456789012345678901234567890123", NULL },
        { "1234567890123456789012345678901234567890123456789012345678901234", "h-" },
        { "user@example.org", "h-" },
        { "-a", "h-" }, { "a-", "h-" }, { ".", "h-" }, { "a/b", "h-" }, { "a b", "h-" }, { "\xf0\x9f\x98\x80", "h-" }, { "a\n", "h-" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *label = kube_label_value(rows[i].value);
        assert_int_equal(kube_label_value_is_valid(rows[i].value), rows[i].label == NULL);
        assert_true(kube_label_value_is_valid(label));
        if (!rows[i].label)
            assert_string_equal(label, rows[i].value);
        else
            assert_true(strncmp(label, "h-", 2) == 0 && strlen(label) == 42);
    }
    cleanup_free char *one = kube_label_value("a/b"), *other = kube_label_value("a_b/");
    assert_string_not_equal(one, other);
}

static void objects_are_read_by_path(void **state)
{
    cleanup_json json_t *object = read_json("object", "{'metadata':{'name':'n','uid':'u','labels':{'a.b/c':'d'},'annotations':{'e':5},"
                                                 "'deletionTimestamp':'2026-01-01T00:00:00Z'},'status':{'list':[1]}}");

    assert_string_equal(kube_name(object), "n");
    assert_string_equal(kube_uid(object), "u");
    assert_string_equal(kube_label(object, "a.b/c"), "d");
    assert_null(kube_annotation(object, "e"));
    assert_null(kube_annotation(object, "f"));
    assert_true(kube_is_deleting(object));
    assert_null(kube_at(object, "metadata", "name", "deeper", NULL));
    assert_null(kube_at(NULL, "metadata", NULL));
    assert_true(kube_at(object, NULL) == object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_template_lies_under_the_generated_pod),
        cmocka_unit_test(label_values_are_valid_or_hashed),
        cmocka_unit_test(objects_are_read_by_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
