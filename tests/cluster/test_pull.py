"""An image that takes long to arrive, which is told apart from a guest that does not come up."""
import json
import os
import pathlib
import re
import socket
import threading

import pytest

from kube import wait_for


@pytest.fixture
def silent_registry():
    """Takes connections and says nothing: "host:port" as the node reaches it. The runtime gives up after ten seconds."""
    server = re.search(r"https://([0-9.]+):", pathlib.Path(os.environ["KUBECONFIG"]).read_text())[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server, 9))
        host = probe.getsockname()[0]
    listener, taken = socket.create_server((host, 0)), []

    def serve():
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"{host}:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in (listener, *taken):
        connection.close()


@pytest.mark.parametrize("backend", ["kubernetes", "kubernetes-operator"])
def test_who_waits_for_a_pull_is_told_and_the_start_goes_on(kube, make, silent_registry, backend):
    if backend == "kubernetes-operator":
        make("operator").start()
    service = make("serve", BACKEND=backend, START_TIMEOUT_SECONDS=3, IMAGE=f"{silent_registry}/none:1").start()
    user = f"pat-{backend}"

    def ask():
        status, text = service.get("/files/cwd", {"Authorization": "Bearer adminkey", "X-User-Id": user})
        assert status == 503, text
        return json.loads(text)

    def pods():
        return [pod["metadata"]["uid"] for pod in kube.list("pods") if pod["metadata"]["annotations"].get("openwebui.com/user-id") == user]

    told = ask()
    assert told["reason"] == "starting" and "image is still being pulled" in told["error"], told
    before = pods()
    assert len(before) == 1
    # Once the runtime has given up it is no longer a matter of patience.
    told = wait_for("the failure", lambda: (lambda told: told if told["reason"] != "starting" else None)(ask()), 60)
    # The operator gives a first failed pull another try, for which these three seconds are not enough.
    assert told["reason"] in ("image_not_found", *(["start_timeout"] if backend == "kubernetes-operator" else [])) and silent_registry in told["error"], told
