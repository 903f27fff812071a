"""The orchestrator with TERMINALS_BACKEND=kubernetes-operator: requests make, wake and use Terminal resources."""
import json
import time
import urllib.request

import pytest

from kube import is_ready, phase, terminal, wait_for, wait_phase


def headers(user, context=None):
    return {"Authorization": "Bearer adminkey", "X-User-Id": user, "Content-Type": "application/json",
            **({"X-Terminal-Context-Id": context} if context else {})}


def run(service, user, command, context=None):
    status, text = service.get("/execute?wait=10", headers(user, context), json.dumps({"command": "sleep 0.1; " + command}).encode())
    assert status == 200, text
    return "".join(piece["data"] for piece in json.loads(text)["output"]).replace("\r\n", "\n")


def api(service, path, body=None, expected=200):
    status, text = service.get(path, headers("admin"), json.dumps(body).encode() if body is not None else None)
    assert status == expected, text
    return json.loads(text)


def resource_of(kube, user):
    return next((row for row in kube.list("terminals") if row["spec"]["userId"] == user and "deletionTimestamp" not in row["metadata"]), None)


def test_a_request_makes_a_terminal(kube, service):
    assert run(service, "ann@example.org", "echo hello") == "hello\n"
    found = resource_of(kube, "ann@example.org")
    assert found["metadata"]["name"].startswith("terminal-") and found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "terminals"
    assert found["metadata"]["annotations"]["openwebui.com/user-id"] == "ann@example.org"
    assert found["spec"]["policyId"] == "default" and found["spec"]["persistence"]["enabled"] is True
    row = next(row for row in api(service, "/api/v1/terminals") if row["user_id"] == "ann@example.org")
    assert row["status"] == "running" and row["instance_name"] == found["metadata"]["name"]
    assert api(service, "/api/v1/status")["backend"] == "kubernetes-operator"


def test_a_stopped_one_is_woken_not_made_anew(kube, service):
    run(service, "ben", "echo kept > file")
    before = resource_of(kube, "ben")["metadata"]
    assert api(service, "/api/v1/terminals/stop", {"user_id": "ben"})["stopped"] == 1
    assert phase(kube, before["name"]) == "Idle" and kube.get("pod", f"{before['name']}-pod") is None
    assert run(service, "ben", "cat file") == "kept\n"
    assert resource_of(kube, "ben")["metadata"]["uid"] == before["uid"]


def test_a_refresh_with_reset_empties_the_home(kube, service):
    run(service, "cem", "echo x > file")
    answer = api(service, "/api/v1/terminals/refresh", {"user_id": "cem", "only_idle": False, "reset": True})
    assert answer["reset"] == 1, answer
    assert run(service, "cem", "ls file 2>/dev/null || echo none") == "none\n"


def test_a_home_without_a_resource_is_reset_too(kube, service):
    run(service, "dora", "echo x > file")
    name = resource_of(kube, "dora")["metadata"]["name"]
    kube.delete("terminal", name)
    wait_for("the service sees it", lambda: not any(row["user_id"] == "dora" and row["status"] == "running"
                                                    for row in api(service, "/api/v1/terminals")))
    answer = api(service, "/api/v1/terminals/refresh", {"user_id": "dora", "only_idle": False, "reset": True})
    assert answer["reset"] == 1, answer
    assert kube.get("pod", f"{name}-pod") is None
    assert run(service, "dora", "ls file 2>/dev/null || echo none") == "none\n"


def put_policy(service, name, data):
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}/api/v1/policies/{name}", data=json.dumps(data).encode(), method="PUT",
                                     headers=headers("admin"))
    assert urllib.request.urlopen(request, timeout=10).status == 200


def run_under(service, policy, user, command):
    status, text = service.get(f"/p/{policy}/execute?wait=10", headers(user), json.dumps({"command": "sleep 0.1; " + command}).encode())
    assert status == 200, text
    return "".join(piece["data"] for piece in json.loads(text)["output"]).replace("\r\n", "\n").strip()


def test_policies_reach_the_guest_at_the_next_start(kube, service):
    def put(data):
        put_policy(service, "p1", data)
    def ask():
        return run_under(service, "p1", "eve", "echo $COLOUR")
    put({"env": {"COLOUR": "red"}, "cpu_limit": "500m", "memory_limit": "512Mi"})
    assert ask() == "red"
    found = resource_of(kube, "eve")
    assert found["spec"]["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}
    put({"env": {"COLOUR": "blue"}})
    assert api(service, "/api/v1/terminals/stop", {"user_id": "eve", "policy_id": "p1"})["stopped"] == 1
    assert ask() == "blue"
    assert resource_of(kube, "eve")["metadata"]["uid"] == found["metadata"]["uid"]


def test_a_policy_means_what_it_means_to_the_direct_backend(kube, service):
    put_policy(service, "p2", {"env": {"WORD": "pa$$word $(HOME)"}, "allow_sudo": False, "podTemplate": {"hostname": "chosen"}})
    assert run_under(service, "p2", "eva", 'echo "$WORD"; uname -n') == "pa$$word $(HOME)\nchosen"
    pod = kube.get("pod", resource_of(kube, "eva")["metadata"]["name"] + "-pod")
    assert pod["spec"]["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False}


def test_a_deleted_pod_is_used_again_without_a_restart_of_ours(kube, service):
    run(service, "fay", "echo kept > file")
    name = resource_of(kube, "fay")["metadata"]["name"]
    kube.delete("pod", f"{name}-pod", force=True)
    wait_phase(kube, name, "Running")
    deadline = time.monotonic() + 60
    while True:
        try:
            assert run(service, "fay", "cat file") == "kept\n"
            break
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_changed_key_is_read_again(kube, service):
    run(service, "gus", "true")
    name = resource_of(kube, "gus")["metadata"]["name"]
    pod = kube.get("pod", f"{name}-pod")["metadata"]["uid"]
    kube.delete("secret", f"{name}-apikey")
    wait_for("a new pod", lambda: (found := kube.get("pod", f"{name}-pod")) and found["metadata"]["uid"] != pod and is_ready(found))
    wait_phase(kube, name, "Running")
    wait_for("the service sees it", lambda: any(row["user_id"] == "gus" and row["phase"] == "ready" for row in api(service, "/api/v1/terminals")))
    assert run(service, "gus", "echo works") == "works\n"


def test_activity_is_told(kube, make, operator):
    service = make("serve", STATUS_CACHE_TTL=1).start()
    run(service, "hal", "true")
    name = resource_of(kube, "hal")["metadata"]["name"]
    before = kube.get("terminal", name)["status"].get("lastActivityAt", "")
    time.sleep(1.5)
    run(service, "hal", "true")
    wait_for("newer activity", lambda: kube.get("terminal", name)["status"]["lastActivityAt"] > before, 30)


def test_two_orchestrators_share_terminals(kube, make, service):
    other = make("serve").start()
    assert run(service, "ivy", "echo one > file") == ""
    assert run(other, "ivy", "cat file") == "one\n"
    assert len([row for row in kube.list("terminals") if row["spec"]["userId"] == "ivy"]) == 1


def test_a_restart_finds_what_runs(kube, make, operator):
    first = make("serve").start()
    run(first, "joe", "echo a > file")
    pod = kube.get("pod", resource_of(kube, "joe")["metadata"]["name"] + "-pod")["metadata"]["uid"]
    first.stop()
    second = make("serve").start()
    assert run(second, "joe", "cat file") == "a\n"
    assert kube.get("pod", resource_of(kube, "joe")["metadata"]["name"] + "-pod")["metadata"]["uid"] == pod


def test_by_service_address(kube, make, operator):
    service = make("serve", KUBERNETES_ADDRESS="service").start()
    assert run(service, "kim", "echo hi") == "hi\n"
    row = next(row for row in api(service, "/api/v1/terminals") if row["user_id"] == "kim")
    assert row["host"] == kube.get("service", row["instance_name"] + "-svc")["spec"]["clusterIP"]


def test_failures_reach_the_client(kube, make, operator):
    service = make("serve", IMAGE="registry.invalid/none:1").start()
    status, text = service.get("/execute", headers("lee"), b'{"command":"true"}')
    told = json.loads(text)
    assert status == 503 and told["reason"] == "image_not_found", text
    assert "registry.invalid/none:1" in told["error"]


def test_without_an_operator_it_says_so(kube, make):
    service = make("serve", START_TIMEOUT_SECONDS=3).start()
    status, text = service.get("/execute", headers("moe"), b'{"command":"true"}')
    assert status == 503 and "operator" in json.loads(text)["error"], text


def test_both_backends_in_one_namespace_leave_each_other_alone(kube, make, service):
    direct = make("serve", BACKEND="kubernetes").start()
    run(service, "ola", "echo a > file")
    run(direct, "pia", "echo b > file")
    assert {row["user_id"] for row in api(direct, "/api/v1/terminals")} == {"pia"}
    assert "pia" not in {row["user_id"] for row in api(service, "/api/v1/terminals")}


def pods_of(kube, user):
    return {row["metadata"]["name"]: row["metadata"]["uid"] for row in kube.list("pods") if row["metadata"]["annotations"].get("openwebui.com/user-id") == user}


def secret_of(kube, user):
    return kube.get("secret", f"{resource_of(kube, user)['metadata']['name']}-apikey")


# Both have a Secret of the same name: it is the operator's, whoever came first, and whoever stops one terminal does not touch the other.
@pytest.mark.parametrize("first", ["kubernetes", "kubernetes-operator"])
def test_the_same_user_in_both_backends_has_two_terminals(kube, make, service, first):
    direct, user = make("serve", BACKEND="kubernetes").start(), f"ola-{first}"
    for program in (direct, service) if first == "kubernetes" else (service, direct):
        assert run(program, user, "ls file 2>/dev/null; echo x > file") == ""
    pods, secret = pods_of(kube, user), secret_of(kube, user)
    assert len(pods) == 2 and is_operators(secret)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == resource_of(kube, user)["metadata"]["uid"]
    assert api(direct, "/api/v1/terminals/stop", {"user_id": user})["stopped"] == 1
    assert run(service, user, "cat file") == "x\n"
    assert run(direct, user, "cat file") == "x\n"
    # Time for whoever would heal what is not broken.
    time.sleep(8)
    assert secret_of(kube, user)["metadata"]["uid"] == secret["metadata"]["uid"]
    name = resource_of(kube, user)["metadata"]["name"]
    assert pods_of(kube, user)[f"{name}-pod"] == pods[f"{name}-pod"] and "made again" not in direct.log_text()


def is_operators(secret):
    return "openwebui.com/terminal" in secret["metadata"]["labels"]


def test_the_other_backend_gets_the_secret_back_when_the_operator_lets_it_go(kube, make, service):
    direct = make("serve", BACKEND="kubernetes").start()
    run(direct, "uli", "echo x > file")
    run(service, "uli", "true")
    before, name = pods_of(kube, "uli"), resource_of(kube, "uli")["metadata"]["name"]
    kube.delete("terminal", name)
    wait_for("a Secret of its own", lambda: (secret := kube.get("secret", f"{name}-apikey")) and not is_operators(secret))
    assert run(direct, "uli", "cat file") == "x\n"
    assert kube.get("pod", name)["metadata"]["uid"] == before[name]


def test_someone_elses_resource_under_our_name_is_not_used(kube, service):
    run(service, "nat", "true")
    name = resource_of(kube, "nat")["metadata"]["name"]
    kube.delete("terminal", name)
    kube.apply(terminal(name, user="mallory"))
    status, text = service.get("/execute", headers("nat"), b'{"command":"true"}')
    assert status == 503 and "belongs to another" in text, text
    kube.delete("terminal", name)
