/* What the tests against a real cluster share: a client, a namespace of their own, shell commands. They need KUBECONFIG (an administrator's) and, for faults,
 * CLUSTER, the name that tests/cluster/cluster gave it. */
#ifndef CLUSTER_SUPPORT_H
#define CLUSTER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"
#include "kubernetes/client.h"
#include "kubernetes/object.h"

/* Made by support_start(), deleted by support_end(): cmocka's group fixtures. */
extern char support_namespace[64];
int support_start(void **state);
int support_end(void **state);

struct kube_client *support_client(const struct kube_client_options *options) MUST_CHECK;
/* From a kubeconfig's text, written to a temporary file. */
struct kube_client *support_client_from(const char *kubeconfig) MUST_CHECK;

/* Runs a shell command and gives what it printed, trimmed; fails the test when the command fails. The caller frees. */
char *support_shell(const char *format, ...) PRINTF_LIKE(1, 2) MUST_CHECK;
/* Text of the administrator's kubeconfig below `path`, by JSONPath. The caller frees. */
char *support_config_text(const char *path) MUST_CHECK;

/* Fails the test, with the error's text, when `result` is negative. */
void support_ok(int result, const struct error *err, const char *what);
#define OK(call) support_ok((call), &err, #call)
/* Fails the test unless the call failed with this class and a text that holds `text`. */
void support_failed(int result, const struct error *err, enum error_class class, const char *text, const char *what);
#define FAILS(call, class, text) support_failed((call), &err, (class), (text), #call)

/* An object with this name and label test=<label>. The caller owns it. */
json_t *support_secret(const char *name, const char *label) MUST_CHECK;
/* Waits up to ten seconds. */
bool support_wait(bool (*is_so)(void *context), void *context);

#endif
