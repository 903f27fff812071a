"""The life of a Terminal resource: made, ready, put to sleep, reset, deleted; and what is told when it cannot become ready."""
import pytest

from kube import GUEST, Kube, condition, events, terminal, wait_for, wait_phase


def test_a_resource_becomes_a_terminal(kube, operator):
    kube.apply(terminal("life", env={"GREETING": "hello"}, packages=[]))
    found = wait_phase(kube, "life", "Running")
    status = found["status"]
    assert status["podName"] == "life-pod" and status["serviceName"] == "life-svc" and status["apiKeySecret"] == "life-apikey"
    assert status["serviceUrl"] == f"http://life-svc.{kube.namespace}.svc:8000"
    assert status["lastActivityAt"] and condition(found)["reason"] == "PodReady" and condition(found)["status"] == "True"
    assert "terminals.openwebui.com/finalizer" in found["metadata"]["finalizers"]

    key = kube.secret_value("life-apikey")
    assert key.startswith("sk-") and len(key) == 51 and key[3:].isalnum()
    pod = kube.get("pod", "life-pod")
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "open-terminal" and labels["app.kubernetes.io/instance"] == "life"
    assert labels["app.kubernetes.io/managed-by"] == "terminals" and labels["app.kubernetes.io/part-of"] == "open-terminal"
    assert labels["openwebui.com/terminal"] == "life" and labels["openwebui.com/user-id"] == "alice"
    container = pod["spec"]["containers"][0]
    assert {"name": "GREETING", "value": "hello"} in container["env"] and container["startupProbe"]["httpGet"]["path"] == "/health"
    assert key not in str(pod)
    for kind, name in (("pod", "life-pod"), ("service", "life-svc"), ("secret", "life-apikey")):
        assert kube.get(kind, name)["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"], kind
    assert "ownerReferences" not in kube.get("pvc", "life-pvc")["metadata"]

    url = f"http://{kube.get('service', 'life-svc')['spec']['clusterIP']}:8000"
    import urllib.request
    request = urllib.request.Request(f"{url}/files/cwd", headers={"Authorization": f"Bearer {key}"})
    assert b"/home/user" in urllib.request.urlopen(request, timeout=10).read()
    wait_for("events", lambda: {"Created", "Ready"} <= set(events(kube, "life")))


def test_whoever_writes_idle_stops_the_pod(kube, operator):
    kube.apply(terminal("stopped"))
    wait_phase(kube, "stopped", "Running")
    kube.patch("terminal", "stopped", {"status": {"phase": "Idle"}}, "status")
    wait_for("the pod goes", lambda: kube.get("pod", "stopped-pod") is None, 30)
    found = wait_for("the condition follows", lambda: (lambda t: t if condition(t)["status"] == "False" else None)(kube.get("terminal", "stopped")))
    assert found["status"]["phase"] == "Idle"


def test_a_reset_empties_the_home_and_nothing_else(kube, operator):
    kube.apply(terminal("wiped"))
    wait_phase(kube, "wiped", "Running")
    kube.execute("wiped-pod", "cd /home/user && mkdir -p d/.e && echo x > d/.e/f && echo y > .hidden && chmod 000 d")
    claim, key = kube.get("pvc", "wiped-pvc")["metadata"]["uid"], kube.secret_value("wiped-apikey")
    kube.patch("terminal", "wiped", {"metadata": {"annotations": {"openwebui.com/reset": "one"}}})
    wait_for("the reset is told", lambda: kube.get("terminal", "wiped")["status"].get("lastReset") == "one", 60)
    wait_phase(kube, "wiped", "Running")                       # it was awake, so it comes back
    assert kube.execute("wiped-pod", "ls -A /home/user | grep -v '^.local$' | wc -l").strip() == "0"
    assert kube.get("pvc", "wiped-pvc")["metadata"]["uid"] == claim and kube.secret_value("wiped-apikey") == key
    assert kube.get("pod", "wiped-reset") is None


def test_a_reset_that_cannot_run_is_told_and_mends_itself(kube, operator):
    kube.apply(terminal("unwiped"))
    wait_phase(kube, "unwiped", "Running")
    kube.execute("unwiped-pod", "echo x > /home/user/file")
    kube.patch("terminal", "unwiped", {"metadata": {"annotations": {"openwebui.com/reset": "one"}},
                                       "spec": {"podTemplate": {"spec": {"nodeSelector": {"no-such": "node"}}}}})
    wait_for("the reason is told", lambda: condition(kube.get("terminal", "unwiped"))["reason"] == "ResetFailed", 90)
    found = kube.get("terminal", "unwiped")
    assert "cannot be scheduled" in found["status"]["message"] and "lastReset" not in found["status"]
    assert kube.get("pod", "unwiped-pod") is None
    kube.patch("terminal", "unwiped", {"spec": {"podTemplate": {"spec": {"nodeSelector": None}}}})
    wait_for("the reset is told", lambda: kube.get("terminal", "unwiped")["status"].get("lastReset") == "one", 60)
    wait_phase(kube, "unwiped", "Running")
    assert kube.execute("unwiped-pod", "ls /home/user/file 2>/dev/null || echo none") == "none\n"


def test_a_deleted_resource_leaves_only_its_home(kube, operator):
    kube.apply(terminal("gone"))
    wait_phase(kube, "gone", "Running")
    kube.execute("gone-pod", "echo mine > /home/user/file")
    kube.delete("terminal", "gone")
    for kind, name in (("pod", "gone-pod"), ("service", "gone-svc"), ("secret", "gone-apikey")):
        wait_for(f"{kind} goes", lambda: kube.get(kind, name) is None, 40)
    claim = kube.get("pvc", "gone-pvc")
    assert claim["metadata"]["annotations"]["openwebui.com/released-at"]

    kube.apply(terminal("gone"))
    wait_phase(kube, "gone", "Running")
    assert kube.execute("gone-pod", "cat /home/user/file") == "mine\n"
    assert "openwebui.com/released-at" not in kube.get("pvc", "gone-pvc")["metadata"]["annotations"]


def test_another_user_does_not_get_the_home(kube, operator):
    kube.apply(terminal("owned", user="alice"))
    wait_phase(kube, "owned", "Running")
    kube.delete("terminal", "owned")
    kube.apply(terminal("owned", user="mallory"))
    found = wait_phase(kube, "owned", "Error")
    assert condition(found)["reason"] == "NameTaken"
    wait_for("alice's pod goes, and no other comes", lambda: kube.get("pod", "owned-pod") is None, 30)


def claim(name, **labels):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}


@pytest.mark.parametrize("name, labels, reason", [
    ("postgres", {"app": "postgres"}, "AdmissionRefused"),
    ("unnamed", {"openwebui.com/terminal": "unnamed"}, "NameTaken"),
    ("labelled", {"openwebui.com/terminal": "labelled", "openwebui.com/user-id": "bob"}, "NameTaken"),
])
def test_a_claim_that_is_not_the_users_is_left_alone(kube, operator, name, labels, reason):
    kube.apply(claim(f"{name}-pvc", **labels))
    kube.apply(terminal(name, user="alice"))
    found = wait_phase(kube, name, "Error")
    assert condition(found)["reason"] == reason and "belong" in found["status"]["message"]
    kube.patch("terminal", name, {"metadata": {"annotations": {"openwebui.com/reset": "now"}}})
    kube.delete("terminal", name)
    metadata = kube.get("pvc", f"{name}-pvc")["metadata"]
    assert metadata["labels"] == labels and not [key for key in metadata.get("annotations", {}) if key.startswith("openwebui.com/")]
    assert kube.get("pod", f"{name}-pod") is None and kube.get("pod", f"{name}-reset") is None


def test_a_claim_that_is_labelled_for_the_user_is_taken_over(kube, operator):
    kube.apply(claim("inherited-pvc", **{"openwebui.com/terminal": "inherited", "openwebui.com/user-id": "alice"}))
    kube.apply(terminal("inherited", user="alice"))
    wait_phase(kube, "inherited", "Running")
    assert kube.get("pvc", "inherited-pvc")["metadata"]["annotations"]["openwebui.com/user-id"] == "alice"


def test_without_persistence_there_is_no_claim(kube, operator):
    kube.apply(terminal("volatile", persistence={"enabled": False}))
    wait_phase(kube, "volatile", "Running")
    assert kube.get("pvc", "volatile-pvc") is None
    assert kube.execute("volatile-pod", "touch /home/user/x && echo writable") == "writable\n"


def test_a_shared_volume_has_a_folder_for_each(kube, operator):
    for name in ("share-a", "share-b"):
        kube.apply(terminal(name, storageMode="shared-rwo"))
    for name in ("share-a", "share-b"):
        wait_phase(kube, name, "Running")
        kube.execute(f"{name}-pod", f"echo {name} > /home/user/who")
    for name in ("share-a", "share-b"):
        assert kube.execute(f"{name}-pod", "cat /home/user/who").strip() == name
        assert kube.get("pvc", f"{name}-pvc") is None
    kube.patch("terminal", "share-a", {"metadata": {"annotations": {"openwebui.com/reset": "one"}}})
    wait_for("the reset is told", lambda: kube.get("terminal", "share-a")["status"].get("lastReset") == "one", 60)
    assert kube.execute("share-b-pod", "cat /home/user/who").strip() == "share-b"


@pytest.mark.parametrize("spec, reason, words", [
    ({"image": "registry.invalid/none:1"}, "ImagePullFailed", "registry.invalid/none:1"),
    ({"resources": {"requests": {"cpu": "900"}, "limits": {"cpu": "900"}}}, "Unschedulable", "Insufficient cpu"),
    ({"podTemplate": {"spec": {"containers": [{"name": "open-terminal", "command": ["sh", "-c", "echo broken; exit 3"]}]}}}, "CrashLoop", "exit code 3"),
    ({"podTemplate": {"spec": {"containers": [{"name": "side", "image": GUEST, "envFrom": [{"secretRef": {"name": "missing"}}]}]}}},
     "ContainerNotCreated", "missing"),
    ({"podTemplate": {"spec": {"containers": [{"name": "UPPER", "image": GUEST}]}}}, "InvalidSpec", "UPPER"),
], ids=["image", "unschedulable", "crash", "secret", "invalid"])
def test_failures_are_told_with_their_reason(kube, operator, spec, reason, words, request):
    name = f"bad-{request.node.callspec.id}"
    kube.apply(terminal(name, **spec))
    found = wait_phase(kube, name, "Error", timeout=90)
    assert condition(found)["reason"] == reason and words in found["status"]["message"], found["status"]
    wait_for("an Event", lambda: reason in events(kube, name))
    # Mended, it runs.
    if reason in ("ImagePullFailed", "Unschedulable"):
        kube.patch("terminal", name, {"spec": {"image": GUEST, "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "1"}}}})
        wait_phase(kube, name, "Running")
        assert "message" not in kube.get("terminal", name)["status"]
    kube.delete("terminal", name)


def test_a_used_up_quota_is_told_and_mends_itself(kube, make):
    kube.run("create", "namespace", f"{kube.namespace}-q")
    there = Kube(f"{kube.namespace}-q")
    try:
        operator = make("operator", KUBERNETES_NAMESPACE=there.namespace).start()
        there.run("create", "quota", "none", "--hard=pods=0")
        wait_for("the quota counts", lambda: there.get("quota", "none")["status"].get("hard"))
        there.apply(terminal("poor"))
        found = wait_phase(there, "poor", "Error")
        assert condition(found)["reason"] == "QuotaExceeded" and "exceeded quota" in found["status"]["message"]
        there.delete("quota", "none")
        wait_phase(there, "poor", "Running", timeout=90)
        there.delete("terminal", "poor")
        operator.stop()
    finally:
        Kube().run("delete", "namespace", there.namespace, "--wait=false")
