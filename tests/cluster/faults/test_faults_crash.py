"""A program is killed in the middle of each of its writes: the server has carried it out, and nobody has heard of it. Where the next one begins, that is all
the same as a crash right before the call that would have followed. Whoever starts instead finishes or undoes what was begun; nothing is doubled, no home is lost."""
import json

import pytest

pytestmark = pytest.mark.beside

CREATE = ["create secrets", "create persistentvolumeclaims", "create pods", "create services"]
DIRECT = [("create", call) for call in CREATE] + [("wake", call) for call in CREATE] + [
    ("idle", call) for call in ("delete pods", "delete services", "delete secrets")] + [("reset", call) for call in ("create pods", "delete pods")]
LEFT = 170              # what a dead orchestrator left is removed after two minutes


def lead_to(stack, step):
    """Everything before the step, undisturbed."""
    if step == "create":
        return
    stack.create()
    if step == "wake":
        stack.idle()
        stack.is_asleep()


def kill_in(stack, step, call, program, proxy, skip=0):
    lead_to(stack, step)
    proxy.crash(call, program, skip=skip)
    work = {"create": stack.ask, "wake": stack.ask, "idle": stack.idle, "reset": stack.reset, "delete": stack.delete}[step]
    done = stack.meanwhile(work)
    stack.wait_killed(program)
    if program == stack.service:
        done.result(30)


def reset_again(stack):
    """Of a reset that nobody has confirmed nothing is known but that it was not."""
    stack.use()
    stack.keep("two")
    answer = stack.reset()[1]
    assert json.loads(answer)["reset"] == 1, answer
    stack.use()
    assert stack.kept() is None
    stack.keep("one")
    stack.is_awake()


@pytest.mark.parametrize("step,call", DIRECT)
def test_the_orchestrator_is_killed_and_the_user_comes_back(stack, step, call):
    stack = stack("kubernetes").begin()
    kill_in(stack, step, call, stack.service, stack.front)
    stack.serve()
    if step == "reset":
        reset_again(stack)
    if step == "create":
        stack.create()
    stack.live()


@pytest.mark.long
@pytest.mark.parametrize("step,call", [row for row in DIRECT if row[0] != "reset"])
def test_the_orchestrator_is_killed_and_nobody_comes_back(stack, step, call):
    """No pod is left half-made, and what belongs to no pod goes. Calls go out by twos, so that what was made beside the one of the kill is not known."""
    stack = stack("kubernetes").begin()
    kill_in(stack, step, call, stack.service, stack.front)
    stack.serve()
    none_was_made = [(0, 0, 0, 0)] if step == "create" else []
    stack.expect("a whole terminal, or only its home", (1, 1, 1, 1), (0, 0, 0, 1), *none_was_made, timeout=LEFT)
    stack.is_awake(kept=None if step == "create" else "one")


@pytest.mark.parametrize("step,call", [("create", "create terminals"), ("idle", "patch terminals/status"), ("wake", "patch terminals/status"),
                                       ("reset", "patch terminals")])
def test_the_orchestrator_beside_an_operator_is_killed(stack, step, call):
    stack = stack("kubernetes-operator").begin()
    kill_in(stack, step, call, stack.service, stack.front)
    stack.serve()
    if step == "reset":
        reset_again(stack)
    if step == "create":
        stack.create()
    stack.live()


OPERATED = [("create", call, 0) for call in (*CREATE, "patch terminals/status")] + [("create", "patch terminals/status", 1)] + [
    ("idle", "delete pods", 0), ("idle", "patch terminals/status", 0)] + [
    ("wake", call, 0) for call in ("create pods", "patch terminals/status")] + [
    ("reset", call, 0) for call in ("delete pods", "create pods", "patch terminals/status")] + [
    ("delete", call, 0) for call in ("delete pods", "delete services", "delete secrets", "patch persistentvolumeclaims", "patch terminals")]


@pytest.mark.parametrize("step,call,skip", OPERATED)
def test_the_operator_is_killed(stack, step, call, skip):
    stack = stack("kubernetes-operator").begin()
    kill_in(stack, step, call, stack.operator, stack.back, skip)
    stack.operate()
    if step == "create":
        stack.create()
    if step == "delete":
        stack.is_gone()
    if step == "reset":
        stack.use()
        stack.keep("one")
    stack.live()
