"""Whatever is missing or changed is put right from what is seen."""
import time
import urllib.request

from kube import is_ready, phase, terminal, wait_for, wait_phase


def uid(kube, kind, name):
    found = kube.get(kind, name)
    return found["metadata"]["uid"] if found and "deletionTimestamp" not in found["metadata"] else None


def ready_again(kube, name, old):
    """Ready with a pod other than `old`."""
    wait_for("a new pod is ready", lambda: (lambda pod: pod and pod["metadata"]["uid"] != old and is_ready(pod))(kube.get("pod", f"{name}-pod")), 60)
    wait_phase(kube, name, "Running")


def answers(kube, name):
    address = kube.get("service", f"{name}-svc")["spec"]["clusterIP"]
    key = kube.secret_value(f"{name}-apikey")
    request = urllib.request.Request(f"http://{address}:8000/files/cwd", headers={"Authorization": f"Bearer {key}"})
    try:
        return urllib.request.urlopen(request, timeout=3).status == 200
    except OSError:
        return False


def test_what_was_deleted_or_edited_comes_back(kube, operator):
    kube.apply(terminal("fix"))
    wait_phase(kube, "fix", "Running")
    kube.execute("fix-pod", "echo kept > /home/user/file")

    pod = uid(kube, "pod", "fix-pod")
    kube.delete("pod", "fix-pod", wait=False)
    ready_again(kube, "fix", pod)
    assert kube.execute("fix-pod", "cat /home/user/file") == "kept\n"

    service, pod = uid(kube, "service", "fix-svc"), uid(kube, "pod", "fix-pod")
    kube.delete("service", "fix-svc", wait=False)
    wait_for("a new service", lambda: uid(kube, "service", "fix-svc") not in (None, service))
    wait_for("it answers", lambda: answers(kube, "fix"), 30)

    kube.patch("service", "fix-svc", {"spec": {"selector": {"openwebui.com/terminal": "other", "extra": "x"}}})
    wait_for("the selector is right again", lambda: kube.get("service", "fix-svc")["spec"]["selector"] ==
             {"openwebui.com/terminal": "fix", "app.kubernetes.io/name": "open-terminal"})
    wait_for("it answers", lambda: answers(kube, "fix"), 30)
    assert uid(kube, "pod", "fix-pod") == pod

    for edit in ({"selector": {"app.kubernetes.io/name": "wrong"}}, {"selector": {"openwebui.com/policy": "x"}}, {"type": "NodePort"},
                 {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, {"type": "ExternalName", "externalName": "example.org"}):
        kube.patch("service", "fix-svc", {"spec": edit})
        wait_for(f"{edit} is put right", lambda: (lambda spec: spec["type"] == "ClusterIP" and spec["selector"] ==
                 {"openwebui.com/terminal": "fix", "app.kubernetes.io/name": "open-terminal"})(kube.get("service", "fix-svc")["spec"]))
        wait_for("it answers", lambda: answers(kube, "fix"), 30)

    key = kube.secret_value("fix-apikey")
    kube.delete("secret", "fix-apikey", wait=False)
    ready_again(kube, "fix", pod)
    assert kube.secret_value("fix-apikey") != key
    wait_for("it answers with the new key", lambda: answers(kube, "fix"), 30)

    pod = uid(kube, "pod", "fix-pod")
    kube.run("label", "pod", "fix-pod", "openwebui.com/terminal-")
    wait_for("the pod is marked or replaced", lambda: (kube.get("pod", "fix-pod") or {"metadata": {"labels": {}}})["metadata"]["labels"]
             .get("openwebui.com/terminal") == "fix", 60)
    wait_phase(kube, "fix", "Running")

    pod = uid(kube, "pod", "fix-pod")
    kube.run("patch", "pod", "fix-pod", "--subresource=status", "--type=merge", "-p",
             '{"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: memory."}}')
    ready_again(kube, "fix", pod)


def test_an_edited_spec_replaces_the_pod_but_a_default_does_not(kube, operator):
    kube.apply(terminal("edit", env={"A": "1"}))
    wait_phase(kube, "edit", "Running")
    pod = uid(kube, "pod", "edit-pod")
    kube.patch("terminal", "edit", {"spec": {"idleTimeoutMinutes": 5, "podTemplate": {}, "packages": []}})
    time.sleep(3)
    assert uid(kube, "pod", "edit-pod") == pod
    kube.patch("terminal", "edit", {"spec": {"env": {"A": "2"}}})
    ready_again(kube, "edit", pod)
    assert kube.execute("edit-pod", "tr '\\0' '\\n' < /proc/1/environ | grep ^A= || true").strip() in ("A=2", "")
    assert {"name": "A", "value": "2"} in kube.get("pod", "edit-pod")["spec"]["containers"][0]["env"]


def versions(kube, name):
    return [kube.get(kind, name + suffix)["metadata"]["resourceVersion"] for kind, suffix in
            (("terminal", ""), ("pod", "-pod"), ("service", "-svc"), ("secret", "-apikey"), ("pvc", "-pvc"))]


def settled_versions(kube, name):
    """Those that nobody has changed for two seconds."""
    seen = versions(kube, name)
    while True:
        time.sleep(2)
        seen, before = versions(kube, name), seen
        if seen == before:
            return seen


def test_an_operator_that_restarts_changes_nothing(kube, make):
    first = make("operator").start()
    kube.apply(terminal("steady"))
    wait_phase(kube, "steady", "Running")
    before = settled_versions(kube, "steady")
    first.stop()
    second = make("operator").start()
    wait_for("it leads", lambda: second.metrics().get("terminals_operator_leading") == 1, 25)
    time.sleep(3)
    assert versions(kube, "steady") == before


def test_foreign_objects_are_not_touched(kube, operator):
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken-apikey"}, "stringData": {"api-key": "theirs"}})
    kube.apply(terminal("taken"))
    found = wait_phase(kube, "taken", "Error")
    assert "taken-apikey" in found["status"]["message"] and "does not belong" in found["status"]["message"]
    assert kube.secret_value("taken-apikey") == "theirs"
    kube.delete("secret", "taken-apikey")
    wait_phase(kube, "taken", "Running", timeout=90)
