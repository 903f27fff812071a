"""A node that must be left. There is but one, and others run on it: this is not done beside anything else."""
import time

import pytest
from kube import wait_for

BACKENDS = ["kubernetes", "kubernetes-operator"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_node_is_tainted(stack, backend):
    """By the controller of the node's life, which ends the pods there; as soon as a node can be had again, the terminal is."""
    stack = stack(backend).begin()
    stack.create()
    pod = stack.only("pods")["metadata"]
    node = stack.api.call("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    taint = {"key": f"test-{stack.namespace}", "effect": "NoExecute"}
    stack.api.patch("nodes", node, {"spec": {"taints": [taint]}})
    try:
        wait_for("the pod is ended", lambda: (stack.api.get("pods", pod["name"]) or {"metadata": {"uid": None}})["metadata"]["uid"] != pod["uid"])
        work = stack.meanwhile(stack.use)
        time.sleep(2)
    finally:
        stack.api.patch("nodes", node, {"spec": {"taints": None}})
    work.result(120)
    stack.live()
