"""What the operator does by the clock: idle terminals sleep, homes of deleted resources end. Its clock goes by minutes, and so do these tests."""
import time

from kube import ago, condition, events, phase, terminal, wait_for, wait_phase


def test_idle_and_woken_keep_home_key_and_service(kube, operator):
    kube.apply(terminal("nap", idleTimeoutMinutes=1))
    wait_phase(kube, "nap", "Running")
    kube.execute("nap-pod", "echo kept > /home/user/file")
    key, service = kube.secret_value("nap-apikey"), kube.get("service", "nap-svc")["metadata"]["uid"]
    # Sleeps when it was ready, and last used, longer ago than the timeout.
    found = wait_phase(kube, "nap", "Idle", timeout=190)
    assert condition(found)["reason"] == "IdleTimeout" and condition(found)["status"] == "False" and "podName" not in found["status"]
    wait_for("the pod goes", lambda: kube.get("pod", "nap-pod") is None, 30)
    assert "IdleTimeout" in events(kube, "nap")

    kube.patch("terminal", "nap", {"status": {"phase": "Pending", "lastActivityAt": ago(0)}}, "status")
    wait_phase(kube, "nap", "Running")
    assert kube.execute("nap-pod", "cat /home/user/file") == "kept\n"
    assert kube.secret_value("nap-apikey") == key and kube.get("service", "nap-svc")["metadata"]["uid"] == service


def test_activity_keeps_it_awake_and_zero_means_never(kube, operator):
    kube.apply(terminal("used", idleTimeoutMinutes=2))
    kube.apply(terminal("never", idleTimeoutMinutes=0))
    wait_phase(kube, "used", "Running")
    wait_phase(kube, "never", "Running")
    for name in ("used", "never"):
        since = kube.get("terminal", name)["status"]["conditions"]
        since[0]["lastTransitionTime"] = ago(600)
        kube.patch("terminal", name, {"status": {"conditions": since, "lastActivityAt": ago(600 if name == "never" else 0)}}, "status")
    time.sleep(75)
    assert phase(kube, "used") == "Running" and phase(kube, "never") == "Running"


def test_homes_of_deleted_resources_end_after_their_time(kube, make):
    operator = make("operator", OPERATOR_PVC_RETENTION_HOURS=1).start()
    for name in ("old", "young"):
        kube.apply(terminal(name))
        wait_phase(kube, name, "Running")
        kube.delete("terminal", name)
    kube.patch("pvc", "old-pvc", {"metadata": {"annotations": {"openwebui.com/released-at": ago(61)}}})
    wait_for("the old home goes", lambda: kube.get("pvc", "old-pvc") is None, 90)
    assert kube.get("pvc", "young-pvc") is not None
    operator.stop()
