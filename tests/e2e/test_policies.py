"""Policies, lifecycles and the rest of the control plane (orchestrator.md §2.4, §3)."""
import re

import pytest

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00"


def api(service, method, path, **options):
    return service.request(method, "/api/v1" + path, **options)


def detail(answer):
    return answer.status, answer.json().get("detail")


# --- policies --------------------------------------------------------------------------------------------------------

def test_list_is_ordered_by_creation(service, prefix):
    for name in ("b", "a", "c"):
        service.put_policy(prefix + name, {})
    service.put_policy(prefix + "a", {"cpu_limit": "1"})
    listed = [row["id"] for row in api(service, "GET", "/policies").json() if row["id"].startswith(prefix)]
    assert listed == [prefix + name for name in "bac"]


def test_put_replaces_and_patch_merges(service, prefix):
    path = f"/policies/{prefix}p"
    service.put_policy(prefix + "p", {"cpu_limit": "1", "env": {"A": "1", "B": "2"}, "own": {"x": [1]}})
    answer = api(service, "PATCH", path, json={"env": {"B": None, "C": "3"}, "memory_limit": "1Gi", "own": None})
    assert answer.status == 200
    assert answer.json()["data"] == {"cpu_limit": "1", "memory_limit": "1Gi", "env": {"A": "1", "C": "3"}}
    assert service.put_policy(prefix + "p", {"image": "open-terminal:local"})["data"] == {"image": "open-terminal:local"}
    assert api(service, "GET", path).json()["data"] == {"image": "open-terminal:local"}


def test_patch_of_nothing_is_404_and_is_checked(service, prefix):
    assert detail(api(service, "PATCH", f"/policies/{prefix}p", json={})) == (404, f"Policy '{prefix}p' not found")
    service.put_policy(prefix + "p", {})
    assert api(service, "PATCH", f"/policies/{prefix}p", json={"cpu_limit": "x"}).status == 400
    assert api(service, "GET", f"/policies/{prefix}p").json()["data"] == {}


def test_times_carry_an_offset_and_creation_stays(service, prefix):
    first = service.put_policy(prefix + "p", {})
    second = service.put_policy(prefix + "p", {"cpu_limit": "1"})
    assert re.fullmatch(TIME, first["created_at"]) and re.fullmatch(TIME, second["updated_at"])
    assert first["created_at"] == second["created_at"] and second["updated_at"] > first["updated_at"]


def test_delete_takes_the_lifecycle_along(service, prefix):
    path = f"/policies/{prefix}p"
    service.put_policy(prefix + "p", {})
    assert api(service, "PUT", path + "/lifecycle", json={"reset": {"schedule": "@daily"}}).status == 200
    assert api(service, "DELETE", path).json() == {"ok": True}
    assert detail(api(service, "GET", path)) == (404, f"Policy '{prefix}p' not found")
    assert api(service, "GET", path + "/lifecycle").json() == {"policy_id": prefix + "p", "data": {}}
    assert detail(api(service, "DELETE", path)) == (404, f"Policy '{prefix}p' not found")


@pytest.mark.parametrize("data,status,text", [
    ({"reset": {}, "lifecycle": 1}, 400, "Lifecycle keys are not valid policy fields: lifecycle, reset"),
    ({"reset_schedule": "@daily"}, 400, "Lifecycle keys are not valid policy fields: reset_schedule"),
    ({"cpu_limit": "many"}, 400, "Invalid cpu_limit 'many'"), ({"cpu_limit": "-1"}, 400, "Invalid cpu_limit '-1'"),
    ({"cpu_limit": "1e400"}, 400, "Invalid cpu_limit '1e400'"), ({"memory_limit": "4GB"}, 400, "Invalid memory_limit '4GB'"),
    ({"memory_limit": "99999999Ei"}, 400, "Invalid memory_limit '99999999Ei'"), ({"memory_limit": ""}, 400, "Invalid memory_limit ''"),
    ({"storage": "1 0Gi"}, 400, "Invalid storage '1 0Gi'"), ({"storage_mode": "mine"}, 400, "Invalid storage_mode 'mine'"),
    ({"idle_timeout_minutes": -1}, 400, "Invalid idle_timeout_minutes '-1'"),
    ({"env": {"OPEN_TERMINAL_API_KEY": "x"}}, 400, None), ({"env": {"OPEN_TERMINAL_API_KEY_FILE": "/x"}}, 400, None),
    ({"restricted": True, "env": {"OPEN_TERMINAL_PIP_PACKAGES": "x", "OPEN_TERMINAL_NPM_PACKAGES": "y"}}, 400,
     "OPEN_TERMINAL_PIP_PACKAGES is not supported in restricted Kubernetes/OpenShift mode; "
     "OPEN_TERMINAL_NPM_PACKAGES is not supported in restricted Kubernetes/OpenShift mode"),
    ({"image": 5}, 422, None), ({"env": []}, 422, None), ({"env": "x"}, 422, None), ({"restricted": "perhaps"}, 422, None),
    ({"idle_timeout_minutes": "soon"}, 422, None), ({"podTemplate": []}, 422, None), ({"access": "all"}, (400, 422), None)],
    ids=lambda value: str(value)[:40])
def test_policy_that_is_refused(service, prefix, data, status, text):
    for method, path, body in (("PUT", f"/policies/{prefix}p", data), ("POST", "/policies", {"id": prefix + "p", "data": data})):
        answer = api(service, method, path, json=body)
        assert answer.status in (status if isinstance(status, tuple) else (status,)), answer
        if text:
            assert answer.json()["detail"] == text
    assert api(service, "GET", f"/policies/{prefix}p").status == 404


@pytest.mark.parametrize("data", [
    {"cpu_limit": "500m", "memory_limit": "1.5Gi", "storage": "10 G"}, {"memory_limit": "1e9"}, {"memory_limit": "128974848"},
    {"idle_timeout_minutes": 0}, {"env": {}}, {"access": {"users": ["a"], "roles": ["admin"]}}, {"storage_mode": "shared-rwo"},
    {"pids_limit": 100, "runtime": "runc", "podSecurityContext": {"runAsUser": 1}, "container_security_context": {}},
    {"unknown": {"deep": [None, True, 1.25, "é"]}}], ids=lambda value: str(value)[:40])
def test_policy_that_is_kept_verbatim(service, prefix, data):
    assert service.put_policy(prefix + "p", data)["data"] == data
    assert api(service, "GET", f"/policies/{prefix}p").json()["data"] == data


@pytest.mark.parametrize("policy", ["", "x" * 129, "a\u0001b", "a/b", 5, None])
def test_policy_id_that_is_refused(service, policy):
    assert api(service, "POST", "/policies", json={"id": policy, "data": {}}).status == 422


def test_slash_in_an_encoded_policy_id_is_refused(service):
    assert api(service, "PUT", "/policies/a%2Fb", json={}).status == 422


@pytest.mark.parametrize("body,kind", [("{", "application/json"), ("[]", "application/json"), ("null", "application/json"), ("", "application/json"),
                                       ("{}", "text/plain"), ("nonsense", None), ('{"a":"\\ud800"}', "application/json"),
                                       ("[" * 100000, "application/json"), (b"\xff\xfe{}", "application/json")],
                         ids=["cut", "array", "null", "empty", "text", "not JSON", "lone surrogate", "deep", "not UTF-8"])
def test_body_that_is_no_policy(service, prefix, body, kind):
    answer = api(service, "PUT", f"/policies/{prefix}p", body=body, headers=[("Content-Type", kind)] if kind else None)
    assert answer.status in (400, 422) and answer.json()["detail"]


def test_body_without_a_content_type_is_json(service, prefix):
    assert api(service, "PUT", f"/policies/{prefix}p", body='{"cpu_limit": "1"}').status == 200


def test_huge_body_is_refused(service, prefix):
    answer = api(service, "PUT", f"/policies/{prefix}p", json={"env": {"A": "x" * (64 << 20)}})
    assert answer.status in (400, 413, 422)


# --- lifecycles ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("reset,status", [
    ({"schedule": "@weekly"}, 200), ({"schedule": "@monthly", "timezone": "Europe/Berlin"}, 200), ({"schedule": "0 3 * * 1-5"}, 200),
    ({"schedule": "30 0 3 * * 1"}, 200), ({"schedule": "2030-01-01T00:00:00"}, 200), ({"schedule": ""}, 200), ({}, 200),
    ({"schedule": "whenever"}, 400), ({"schedule": "61 * * * *"}, 400), ({"schedule": "@weekly", "timezone": "Mars/Base"}, 400),
    ({"schedule": "@weekly", "timezone": "../../etc/passwd"}, 400), ({"schedule": 5}, 400)], ids=str)
def test_reset_schedules(service, prefix, reset, status):
    path = f"/policies/{prefix}p/lifecycle"
    answer = api(service, "PUT", path, json={"reset": reset, "note": "kept"})
    assert answer.status == status, answer
    if status == 400:
        assert answer.json() == {"detail": "Invalid lifecycle configuration"}
    expected = {"reset": reset, "note": "kept"} if status == 200 else {}
    stored = api(service, "GET", path).json()["data"]
    assert stored.get("note") == expected.get("note") and stored.get("reset", {}) == {**expected.get("reset", {})}


# --- unknown paths and methods ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("method,path,status", [
    ("GET", "/nothing", 404), ("GET", "/policies/x/y/z", 404), ("GET", "", 404), ("DELETE", "/policies", 405), ("PUT", "/status", 405),
    ("GET", "/terminals/stop", 405), ("POST", "/policies/x", 405), ("GET", "/../../execute", 404), ("GET", "/policies%2Fx", 404)])
def test_control_plane_is_never_proxied(service, engine, method, path, status):
    before = engine.containers()
    answer = api(service, method, path, user="nobody-starts-this", json={} if method != "GET" else None)
    assert answer.status == status and "detail" in answer.json(), answer
    if status == 405:
        assert answer.header("Allow")
    assert engine.containers() == before


# --- what policies do to terminals -----------------------------------------------------------------------------------

def test_environment_rules(make_service, prefix):
    service = make_service(MAX_CPU="1500m", MAX_MEMORY="256Mi")
    service.put_policy(prefix + "p", {"env": {"A": "policy", "N": 5, "B": True, "NONE": None, "OPEN_TERMINAL_CPU_COUNT": "99",
                                             "OPEN_TERMINAL_SYSTEM_PROMPT": "from the policy"}})
    service.get(f"/p/{prefix}p/files/cwd", user=prefix + "u")
    env = service.engine.env_of(prefix + "u")
    expected = {"A": "policy", "N": "5", "OPEN_TERMINAL_CPU_COUNT": "1.5", "OPEN_TERMINAL_MEMORY_BYTES": str(256 << 20),
                "OPEN_TERMINAL_CPU_LIMIT": "1.5", "OPEN_TERMINAL_MEMORY_LIMIT": "256Mi",
                "OPEN_TERMINAL_SYSTEM_PROMPT": "from the policy"}
    assert {name: env.get(name) for name in expected} == expected
    assert "NONE" not in env and env["B"].lower() == "true"


def test_limits_that_do_not_hold_are_not_announced(service, prefix):
    service.get("/files/cwd", user=prefix + "u")
    names = set(service.engine.env_of(prefix + "u"))
    limits = {"OPEN_TERMINAL_CPU_LIMIT", "OPEN_TERMINAL_CPU_COUNT", "OPEN_TERMINAL_MEMORY_LIMIT", "OPEN_TERMINAL_MEMORY_BYTES"}
    assert names & limits == (set() if service.engine.default_limits == (None, None) else limits)


def test_change_takes_effect_without_a_restart(service, prefix):
    """A running terminal goes on as it is; refresh makes it anew, and its home stays."""
    user, policy = prefix + "u", prefix + "p"
    service.put_policy(policy, {"env": {"MARK": "one"}})
    assert service.run_in_guest(user, "printf $MARK; echo kept > mark", policy=policy) == (0, "one")
    service.put_policy(policy, {"env": {"MARK": "two"}})
    first = service.engine.id_of(user)
    assert service.run_in_guest(user, "printf $MARK", policy=policy) == (0, "one")
    answer = service.post("/api/v1/terminals/refresh", json={"policy_id": policy, "only_idle": False})
    assert answer.json() == {"matched": 1, "refreshed": 1, "reset": 0, "skipped_active": 0}
    assert service.run_in_guest(user, "printf $MARK; cat mark", policy=policy) == (0, "twokept\n")
    assert service.engine.id_of(user) != first


def test_new_policy_is_known_at_once_and_a_deleted_one_is_not(service, prefix):
    policy = prefix + "p"
    assert detail(service.get(f"/p/{policy}/files/cwd", user=prefix + "u")) == (404, f"Policy '{policy}' not found")
    service.put_policy(policy, {})
    assert service.get(f"/p/{policy}/files/cwd", user=prefix + "u").status == 200
    api(service, "DELETE", f"/policies/{policy}")
    assert detail(service.get(f"/p/{policy}/files/cwd", user=prefix + "u")) == (404, f"Policy '{policy}' not found")


@pytest.mark.docker
def test_egress_list_gives_net_admin_and_says_what_it_enforces(make_service, prefix):
    service = make_service()
    service.put_policy(prefix + "p", {"env": {"OPEN_TERMINAL_ALLOWED_DOMAINS": "example.org"}})
    service.get(f"/p/{prefix}p/files/cwd", user=prefix + "u")
    service.get("/files/cwd", user=prefix + "plain")
    capabilities = {user: service.engine.container_of(prefix + user)["HostConfig"]["CapAdd"] or [] for user in ("u", "plain")}
    assert [name.removeprefix("CAP_") for name in capabilities["u"]] == ["NET_ADMIN"] and capabilities["plain"] == []
    assert "OPEN_TERMINAL_ALLOWED_DOMAINS" in service.log_text() or "egress" in service.log_text().lower()


@pytest.mark.parametrize("value,warned", [("true", True), ("ON", True), ("1", True), ("false", False), ("", False)])
def test_multi_user_mode_is_warned_of(make_service, prefix, value, warned):
    service = make_service()
    service.put_policy(prefix + "p", {"env": {"OPEN_TERMINAL_MULTI_USER": value}})
    assert ("OPEN_TERMINAL_MULTI_USER" in service.log_text()) == warned


# --- terminals -------------------------------------------------------------------------------------------------------

def test_status_counts_what_there_is(make_service, prefix):
    service = make_service(MAX_CPU="2", MAX_MEMORY="4Gi", ALLOWED_IMAGES="open-terminal:*", IDLE_TIMEOUT_MINUTES=30)
    service.put_policy(prefix + "p", {})
    before = api(service, "GET", "/status").json()
    service.get("/files/cwd", user=prefix + "u")
    after = api(service, "GET", "/status").json()
    assert set(after) >= {"status", "backend", "image", "idle_timeout_minutes", "max_cpu", "max_memory", "max_storage", "allowed_images",
                          "active_terminals", "policy_count", "active_websocket_connections"}
    assert (after["status"], after["backend"], after["image"], after["idle_timeout_minutes"]) == (True, service.engine.backend, "open-terminal:local", 30)
    assert (after["max_cpu"], after["max_memory"], after["policy_count"]) == ("2", "4Gi", 1)
    assert after["active_terminals"] == before["active_terminals"] + 1 and after["active_websocket_connections"] == 0


def test_list_of_terminals(service, prefix):
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    service.get("/files/cwd", user=user, context="chat:1")
    rows = service.get(f"/api/v1/terminals?user_id={user}").json()
    assert [(row["user_id"], row["policy_id"], row["context_id"]) for row in rows] == [(user, "default", "chat:1"), (user, "default", "default")] \
        or [(row["user_id"], row["policy_id"], row["context_id"]) for row in rows] == [(user, "default", "default"), (user, "default", "chat:1")]
    row = rows[0]
    assert set(row) >= {"user_id", "policy_id", "context_id", "status", "instance_id", "instance_name", "host", "port", "last_active_at",
                        "idle_seconds", "idle_timeout_minutes"}
    assert row["status"] == "running" and row["phase"] == "ready" and row["port"] == 8000 and row["idle_seconds"] < 30
    assert service.engine.name_id(row["instance_name"]).startswith(row["instance_id"][:12])
    assert service.engine.guest_key(user, row["context_id"]) not in service.get("/api/v1/terminals").text


def test_list_in_pages(service, prefix):
    for context in ("1", "2", "3"):
        service.get("/files/cwd", user=prefix + "u", context=f"chat:{context}")
    seen, cursor = [], ""
    for _ in range(4):
        answer = service.get(f"/api/v1/terminals?user_id={prefix}u&limit=2" + (f"&cursor={cursor}" if cursor else ""))
        rows = answer.json()
        seen += [row["context_id"] for row in rows]
        cursor = next((answer.header(name) for name, _ in answer.headers if "cursor" in name.lower()), "")
        if not cursor:
            break
    assert sorted(seen) == ["chat:1", "chat:2", "chat:3"]


def test_stop_keeps_the_home(service, prefix):
    user = prefix + "u"
    service.run_in_guest(user, "echo kept > mark")
    answer = service.post("/api/v1/terminals/stop", json={"user_id": user})
    assert answer.json() == {"matched": 1, "stopped": 1, "skipped_active": 0}
    assert not service.engine.containers(user)
    assert service.run_in_guest(user, "cat mark") == (0, "kept\n")


@pytest.mark.parametrize("body,status,text", [
    ({"user_id": "nobody-here"}, 404, "Terminal not found"), ({"user_id": ""}, 422, None), ({}, 422, None), ({"user_id": 5}, 422, None),
    ({"user_id": "x", "context_id": "foo"}, 400, "only chat and automation contexts are supported")], ids=str)
def test_stop_that_is_refused(service, body, status, text):
    answer = service.post("/api/v1/terminals/stop", json=body)
    assert answer.status == status
    if text:
        assert answer.json()["detail"] == text


def test_refresh_skips_active_terminals(service, prefix):
    user = prefix + "u"
    service.run_in_guest(user, "true")
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user})
    assert answer.json() == {"matched": 1, "refreshed": 0, "reset": 0, "skipped_active": 1}
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True})
    assert answer.json() == {"matched": 1, "refreshed": 1, "reset": 1, "skipped_active": 0}


def test_refresh_takes_terminals_without_traffic(make_service, prefix):
    import time
    service = make_service(REFRESH_IDLE_SECONDS=1)
    service.run_in_guest(prefix + "u", "true")
    time.sleep(1.5)
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": prefix + "u"})
    assert answer.json()["refreshed"] == 1


@pytest.mark.parametrize("body,status", [({"context_id": "foo"}, 400), ({"user_id": ""}, 422), ({"policy_id": ""}, 422), ({"only_idle": "perhaps"}, 422),
                                         ([], 422), ({"only_idle": "no", "user_id": "nobody-here"}, 200)], ids=str)
def test_refresh_bodies(service, body, status):
    assert service.post("/api/v1/terminals/refresh", json=body).status == status


# --- the guests' documents -------------------------------------------------------------------------------------------

def test_spec_without_a_user_has_no_security(service, engine, prefix):
    policy = prefix + "p"
    service.put_policy(policy, {})
    answer = service.get(f"/p/{policy}/openapi.json")
    assert answer.status == 200
    spec = answer.json()
    assert spec["info"]["title"] == "Open Terminal" and "security" not in spec
    assert "securitySchemes" not in spec.get("components", {})
    assert not any("security" in operation for path in spec["paths"].values() for operation in path.values() if isinstance(operation, dict))
    from harness.client import wait_until
    wait_until(lambda: not [row for row in engine.containers() if row[2] == policy], 30, what="the end of the terminal for `system`")


@pytest.mark.parametrize("path,member", [("/api/config", "features"), ("/system", "prompt")])
def test_config_and_prompt_without_a_user(service, prefix, path, member):
    service.get("/files/cwd", user=prefix + "u")
    answer = service.get(path)
    assert answer.status == 200 and member in answer.json()


def test_documents_come_from_a_running_terminal(service, engine, prefix):
    policy = prefix + "p"
    service.put_policy(policy, {})
    service.get(f"/p/{policy}/files/cwd", user=prefix + "u")
    assert service.get(f"/p/{policy}/openapi.json").status == 200
    assert [row[1] for row in engine.containers() if row[2] == policy] == [prefix + "u"]


def test_documents_survive_a_restart(make_service, engine, prefix, tmp_path):
    policy = prefix + "p"
    service = make_service(folder=tmp_path / "s")
    service.put_policy(policy, {})
    service.get(f"/p/{policy}/files/cwd", user=prefix + "u")
    first = service.get(f"/p/{policy}/openapi.json")
    service.stop()
    engine.clean((prefix,))
    service = make_service(folder=tmp_path / "s")
    assert service.get(f"/p/{policy}/openapi.json").json() == first.json()
    assert sum(value for name, value in service.metrics().items() if name.startswith("terminals_starts_total")) == 0


def test_documents_of_an_unknown_policy(service):
    assert detail(service.get("/p/no-such-policy/openapi.json")) == (404, "Policy 'no-such-policy' not found")


def test_waits_for_a_spec_do_not_hold_up_the_control_plane(service, engine, prefix):
    import threading
    import time
    from harness import images
    service.put_policy(prefix + "p", {"image": images.never_ready(engine)})
    answers = []

    def ask(path):
        begin = time.monotonic()
        answers.append((path, service.get(f"/p/{prefix}p{path}").status, time.monotonic() - begin))

    threads = [threading.Thread(target=ask, args=(path,)) for path in ["/openapi.json"] * 20 + ["/api/config"] * 10 + ["/system"] * 10]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert service.get("/api/v1/policies").status == 200 and service.get("/metrics").status == 200
    assert all(thread.is_alive() for thread in threads[:20])
    for thread in threads:
        thread.join()
    service.post("/api/v1/terminals/stop", json={"user_id": "system", "policy_id": prefix + "p"})
    for path, status, seconds in answers:
        assert status == 502 and seconds < (14 if path == "/openapi.json" else 7), (path, status, seconds)


def test_spec_that_cannot_be_fetched_is_a_502(make_service, engine, prefix):
    from harness import images
    service = make_service(START_TIMEOUT_SECONDS=3)
    service.put_policy(prefix + "p", {"image": images.crashing(engine)})
    answer = service.get(f"/p/{prefix}p/openapi.json")
    assert (answer.status, answer.json()) == (502, {"error": "Failed to fetch OpenAPI spec from terminal instance"})
