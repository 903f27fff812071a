"""The API server is away, overloaded, forgetful, or does not know us any more."""
import random
import time

import pytest
from kube import wait_for

pytestmark = pytest.mark.beside

BACKENDS = ["kubernetes", "kubernetes-operator"]
AWAY = 120
LEFT = 170
RIGHT_AFTERWARDS = 20   # programs ask again every few seconds


def proxies(stack):
    return (stack.front, stack.back) if stack.operated else (stack.front,)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_server_is_away_and_comes_back(stack, backend):
    stack = stack(backend).begin()
    stack.create()
    stack.use("ben")
    pod = next(pod for pod in stack.there("pods") if pod["metadata"]["annotations"]["openwebui.com/user-id"] == "ann@example.org")
    for proxy in proxies(stack):
        proxy.refuse()
    end = time.monotonic() + AWAY
    answers, refused = [], None
    while time.monotonic() < end:
        answers.append(stack.ask())
        if refused is None and time.monotonic() > end - AWAY + 5:
            refused = stack.ask("cem")
        time.sleep(0.1)
    assert not [answer for answer in answers if answer[0] != 200], "a terminal that runs is proxied all the while"
    assert refused[0] == 503 and "backend_unavailable" in refused[1], refused
    # Meanwhile somebody removes one, and the other stays.
    other = next(found for found in stack.there("pods") if found["metadata"]["uid"] != pod["metadata"]["uid"])
    stack.api.delete("pods", other["metadata"]["name"], grace=0)
    for proxy in proxies(stack):
        proxy.accept()
    stack.use("dan", RIGHT_AFTERWARDS)
    stack.use("ben", RIGHT_AFTERWARDS)
    stack.use("cem", RIGHT_AFTERWARDS)
    assert stack.api.get("pods", pod["metadata"]["name"])["metadata"]["uid"] == pod["metadata"]["uid"], "nothing was deleted"
    assert stack.kept() == "one"
    assert len(stack.there("pods")) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_storm_of_429(stack, backend):
    """Everything is refused for some seconds, watches and listings too; who waits gets what they want, and we do not add to the storm."""
    stack = stack(backend).begin()
    for proxy in proxies(stack):
        proxy.answer("* *", 429, times=-1, headers={"Retry-After": "1"}, reason="TooManyRequests")
        proxy.end_connections()
    before = [len(proxy.calls) for proxy in proxies(stack)]
    work = stack.meanwhile(stack.use)
    time.sleep(8)
    calls = sum(len(proxy.calls) - count for proxy, count in zip(proxies(stack), before))
    assert calls < 100, f"{calls} calls in 8 s"
    for proxy in proxies(stack):
        proxy.clear()
    work.result(60)
    stack.create()
    stack.live()


@pytest.mark.long
@pytest.mark.parametrize("status", [500, 503, 504])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_fourth_call_fails(stack, backend, status):
    """In no order that would suit anybody. Where the last deletion of a stop fails, what is left goes two minutes later."""
    stack = stack(backend).begin()
    dice = random.Random(status)
    for proxy in proxies(stack):
        proxy.answer(lambda call: call.verb != "watch" and dice.random() < 0.25, status, times=-1, reason="InternalError")
    stack.create()
    stack.idle()
    stack.is_asleep(LEFT)
    stack.wake()
    stack.is_awake()
    stack.delete()
    stack.is_gone(LEFT)


@pytest.mark.parametrize("how", ["answer", "event"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_watched_version_is_too_old(stack, backend, how):
    """What happened since is found by listing: one was deleted, one was made."""
    stack = stack(backend).begin()
    stack.create()
    stack.use("ben")
    victim = next(pod for pod in stack.there("pods") if pod["metadata"]["annotations"]["openwebui.com/user-id"] == "ben")
    for proxy in proxies(stack):
        proxy.hold("pods")
        proxy.expire(how)
    stack.api.delete("pods", victim["metadata"]["name"], grace=0)
    for proxy in proxies(stack):
        proxy.end_connections()
        proxy.release()
    wait_for("it lists again", lambda: all(proxy.count("list pods") >= 2 for proxy in proxies(stack)), 30)
    for proxy in proxies(stack):
        proxy.clear()
    stack.use("ben")
    stack.use("cem")
    assert stack.kept() == "one"
    if stack.operated:
        wait_for("each has a pod", lambda: len(stack.there("pods")) == 3)


@pytest.mark.parametrize("backend,side", [("kubernetes", "front"), ("kubernetes-operator", "front"), ("kubernetes-operator", "back")])
def test_a_watch_is_cut_in_the_middle_of_an_object(stack, backend, side):
    stack = stack(backend).begin()
    proxy = getattr(stack, side)
    kinds = ["pods", "secrets", "services"] if backend == "kubernetes" else ["terminals", "pods"]
    for step, check in [(stack.create, stack.is_awake), (stack.idle, stack.is_asleep), (stack.wake, stack.is_awake), (stack.delete, stack.is_gone)]:
        cuts = [proxy.cut(kind) for kind in kinds]
        step()
        check()
        assert any(cut.applied.is_set() for cut in cuts)
        proxy.clear()
    assert proxy.count(*(f"list {kind}" for kind in kinds)) == len(kinds), "a cut stream is no reason to list again"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_token_has_expired(stack, backend):
    """401 until the file holds a new one; nothing is lost, and no restart is needed."""
    stack = stack(backend)
    token = stack.folder / "token"
    token.write_text("old")
    for proxy in (stack.front, stack.back):
        proxy.user = {"tokenFile": str(token)}
        proxy.token = "old"
    stack.begin()
    stack.create()
    for proxy in proxies(stack):
        proxy.token = "new"
        proxy.end_connections()
    status, text = stack.ask("ben")
    assert status == 503 and "backend_unavailable" in text, text
    assert stack.ask()[0] == 200
    token.write_text("new")
    stack.use("ben", RIGHT_AFTERWARDS)
    assert stack.kept() == "one"
    stack.stop_terminal("ben")
    stack.stop_terminal()
    wait_for("no pod is left", lambda: not stack.api.list("pods"))
