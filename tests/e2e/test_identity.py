"""Terminal keys: who is who, names that never meet, and what is refused before anything starts (orchestrator.md §1)."""
import pytest

from harness.client import raw, status_of
from harness.names import short_hash
from harness.service import KEY

REFUSED_USERS = {"empty": b"", "300 bytes": b"x" * 300, "257 bytes": b"x" * 257, "not UTF-8": b"al\xff\xfeice", "cut UTF-8": b"al\xc3",
                 "control character": b"al\x01ice", "tab": b"al\tice", "delete": b"al\x7fice", "the service itself": b"system", "dot": b".", "dot dot": b"..", "absolute path": b"/etc",
                 "climbing path": b"../../x", "the database's separator": b"a:b:c"}
FINE_USERS = ["alice@example.org", "a/b/c", "\U0001f600 emoji", "x" * 256, "Ünïcode", "a b", "%2e%2e",
              "$(reboot)", "a'b\"c", "ALICE", "alice"]


def all_containers(engine):
    return set(engine.run("ps", "-aq").split())


@pytest.mark.parametrize("user", REFUSED_USERS.values(), ids=REFUSED_USERS.keys())
def test_bad_user_id_is_refused_and_starts_nothing(service, engine, user):
    before = engine.containers()
    answer = raw(service.port, b"GET /files/cwd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\nX-User-Id: "
                 + user + b"\r\n\r\n")
    assert status_of(answer) in (400, 403, 422), answer
    assert b'"detail"' in answer or b'"error"' in answer
    assert engine.containers() == before


@pytest.mark.parametrize("user", ["", "x" * 300, "%FF%FE", "al%01ice", "system"])
def test_bad_user_id_is_refused_on_websockets(service, engine, user):
    from harness.terminal import Terminal
    before = engine.containers()
    with Terminal(service.port, f"/api/terminals/none?user_id={user}") as terminal:
        code, reason = terminal.auth(KEY).wait_closed()
    assert code in (4002, 4003) and reason
    assert engine.containers() == before


@pytest.mark.parametrize("user", FINE_USERS)
def test_odd_user_ids_are_opaque(service, engine, prefix, user):
    """They appear in labels only; names, volumes and paths are made from hashes."""
    policy = prefix + "p"
    service.put_policy(policy, {})
    answer = service.get(f"/p/{policy}/files/cwd", user=user)
    assert answer.status == 200, answer
    found = [row for row in engine.containers() if row[2] == policy]
    assert len(found) == 1 and found[0][1] == user
    assert found[0][0].startswith(f"{engine.name_prefix}-{short_hash(user)}-")
    if engine.backend == "docker":
        details = engine.inspect(found[0][0])
        assert [mount["Type"] for mount in details["Mounts"] if mount["Destination"] == "/home/user"] == ["volume"]


@pytest.mark.parametrize("headers", [
    [("X-User-Id", "a"), ("X-User-Id", "b")], [("X-User-Id", "a"), ("X-User-Id", "a")], [("X-User-Id", "a"), ("x-user-id", "")],
    [("X-User-Id", "a"), ("X-Terminal-Context-Id", "chat:1"), ("X-Terminal-Context-Id", "chat:2")]],
    ids=["two users", "the same twice", "one empty", "two contexts"])
def test_duplicate_identity_headers_are_refused(service, engine, headers):
    before = engine.containers()
    answer = service.get("/files/cwd", headers=headers)
    assert answer.status == 400 and answer.json()
    assert engine.containers() == before


@pytest.mark.parametrize("query", ["user_id=a&user_id=b", "user_id=a&user_id=a", "user_id=a&context_id=chat:1&context_id=chat:2",
                                   "user_id=a&%75ser_id=b"])
def test_duplicate_identity_parameters_close_4002(service, query):
    from harness.terminal import Terminal
    with Terminal(service.port, f"/api/terminals/none?{query}") as terminal:
        assert terminal.auth(KEY).wait_closed()[0] == 4002


@pytest.mark.parametrize("context,detail", [
    ("foo", "only chat and automation contexts are supported"), ("Chat:x", "only chat and automation contexts are supported"),
    ("chat:" + "x" * 252, "context_id is too long"), ("chat:a\tb", "context_id contains control characters")])
def test_bad_context_is_refused(service, prefix, engine, context, detail):
    answer = service.get("/files/cwd", user=prefix + "u", context=context)
    assert (answer.status, answer.json()) == (400, {"detail": detail})
    assert not engine.containers(prefix)


@pytest.mark.parametrize("context", ["", "  ", "default", " default "])
def test_empty_context_is_the_default_one(service, prefix, engine, context):
    assert service.get("/files/cwd", user=prefix + "u", context=context).status == 200
    assert engine.containers(prefix)[0][3] == "default"


def test_contexts_are_terminals_of_their_own(service, engine, prefix):
    user = prefix + "u"
    contexts = ["default", "chat:c1", "chat:c2", "automation:a1"]
    for context in contexts:
        assert service.run_in_guest(user, f"echo {context} > mark", context=None if context == "default" else context)[0] == 0
    for context in contexts:
        assert service.run_in_guest(user, "cat mark", context=context) == (0, context + "\n")
    rows = engine.containers(user)
    assert {row[3] for row in rows} == set(contexts)
    assert {row[0] for row in rows} == {engine.original_name(user, "default", context) for context in contexts}
    types = {row[3]: engine.labels_of(row[0])["openwebui.com/context-type"] for row in rows}
    assert types == {"default": "default", "chat:c1": "chat", "chat:c2": "chat", "automation:a1": "automation"}


def test_names_as_the_original_gives_them(service, engine, prefix):
    user = prefix + "u"
    policy = prefix[:16].strip("-")
    service.put_policy(policy, {})
    for context in (None, "chat:c1"):
        assert service.get(f"/p/{policy}/files/cwd", user=user, context=context).status == 200
    assert {row[0] for row in engine.containers(user)} == {engine.original_name(user, policy), engine.original_name(user, policy, "chat:c1")}
    service.request("DELETE", f"/api/v1/policies/{policy}")


def test_policies_with_equal_slugs_never_meet(service, engine, prefix):
    user = prefix + "u"
    short = prefix[:9]
    policies = [short + "a_b", short + "a-b", short + "A.B", short + "a b", prefix + "long-one", prefix + "long-two"]
    for policy in policies:
        encoded = policy.replace(" ", "%20")
        service.put_policy(encoded, {"env": {"WHO": policy}})
        assert service.run_in_guest(user, 'printf %s "$WHO"', policy=encoded) == (0, policy)
    names = [row[0] for row in engine.containers(user)]
    assert len(set(names)) == len(policies)
    for name in names:
        assert len(name) <= 63 and "--" not in name and not name.endswith("-")
    for policy in policies:
        service.request("DELETE", f"/api/v1/policies/{policy.replace(' ', '%20')}")


def test_default_routes_and_policy_default_are_one_terminal(service, engine, prefix):
    user = prefix + "u"
    assert service.run_in_guest(user, "echo same > mark")[0] == 0
    assert service.run_in_guest(user, "cat mark", policy="default") == (0, "same\n")
    assert len(engine.containers(user)) == 1


def test_stored_default_holds_on_both_routes(make_service, prefix):
    service = make_service()
    service.put_policy("default", {"env": {"MARK": "stored"}})
    assert service.run_in_guest(prefix + "a", "printf $MARK") == (0, "stored")
    assert service.run_in_guest(prefix + "b", "printf $MARK", policy="default") == (0, "stored")


def test_labels_carry_the_key(service, engine, prefix):
    user = prefix + "u"
    service.get("/files/cwd", user=user, context="chat:x")
    labels = engine.labels_of(engine.containers(user)[0][0])
    expected = {"app.kubernetes.io/managed-by": "terminals", "openwebui.com/user-id": user, "openwebui.com/policy": "default",
                "openwebui.com/context-id": "chat:x", "openwebui.com/context-type": "chat",
                "openwebui.com/context-hash": short_hash("chat:x")}
    assert {name: labels.get(name) for name in expected} == expected
    assert labels.get("openwebui.com/spec-hash")
