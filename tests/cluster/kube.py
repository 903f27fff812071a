"""The cluster as the tests see it: kubectl with the kubeconfig that KUBECONFIG names."""
import base64
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
GUEST = os.environ.get("TERMINALS_TEST_GUEST_IMAGE", "docker.io/library/open-terminal:local")


def kubectl_path():
    found = os.environ.get("KUBECTL") or shutil.which("kubectl")
    if found:
        return found
    candidates = sorted(pathlib.Path.home().glob(".cache/terminals-test/cluster*/bin/kubectl"))
    assert candidates, "kubectl is missing: start the cluster with tests/cluster/cluster up, or name it in KUBECTL"
    return str(candidates[0])


class Refused(Exception):
    """The API server did not take it; the text is its answer."""


class Kube:
    def __init__(self, namespace=None):
        self.namespace, self.path = namespace, kubectl_path()

    def run(self, *arguments, stdin=None, check=True, timeout=60):
        command = [self.path, *(["-n", self.namespace] if self.namespace else []), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise Refused(done.stderr.strip())
        return done.stdout

    def get(self, kind, name):
        """The object, or None when there is none."""
        try:
            return json.loads(self.run("get", kind, name, "-o", "json"))
        except Refused as refused:
            if "NotFound" in str(refused):
                return None
            raise

    def list(self, kind, selector=None):
        return json.loads(self.run("get", kind, *(["-l", selector] if selector else []), "-o", "json"))["items"]

    def apply(self, document):
        return json.loads(self.run("create", "-f", "-", "-o", "json", stdin=json.dumps(document)))

    def patch(self, kind, name, patch, subresource=None):
        extra = [f"--subresource={subresource}"] if subresource else []
        return json.loads(self.run("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *extra, "-o", "json"))

    def delete(self, kind, name, wait=True, force=False):
        self.run("delete", kind, name, f"--wait={str(wait).lower()}", *(["--grace-period=0", "--force"] if force else []), timeout=90)

    def execute(self, pod, command, container="open-terminal"):
        return self.run("exec", pod, "-c", container, "--", "sh", "-c", command)

    def secret_value(self, name, field="api-key"):
        secret = self.get("secret", name)
        return base64.b64decode(secret["data"][field]).decode() if secret else None


def wait_for(what, look, timeout=60.0, every=0.1):
    """Waits until look() gives something true, and gives it back."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(every)


def terminal(name, user="alice", **spec):
    return {"apiVersion": "openwebui.com/v1alpha1", "kind": "Terminal", "metadata": {"name": name}, "spec": {"userId": user, "image": GUEST, **spec}}


def phase(kube, name):
    found = kube.get("terminal", name)
    return (found or {}).get("status", {}).get("phase")


def wait_phase(kube, name, wanted, timeout=60.0):
    try:
        wait_for(f"{name} {wanted}", lambda: phase(kube, name) == wanted, timeout)
    except AssertionError as late:
        raise AssertionError(f"{late}\n{kube.run('describe', 'terminal', name, check=False)}") from None
    return kube.get("terminal", name)


def condition(found, kind="Ready"):
    return next((row for row in found.get("status", {}).get("conditions", []) if row["type"] == kind), None)


def is_ready(pod):
    return pod is not None and "deletionTimestamp" not in pod["metadata"] and any(
        row["type"] == "Ready" and row["status"] == "True" for row in pod.get("status", {}).get("conditions", []))


def ago(minutes):
    """As the API writes times."""
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def events(kube, name):
    """The reasons of the Events about a Terminal."""
    return [row["reason"] for row in kube.list("events") if row["involvedObject"]["name"] == name and row["involvedObject"]["kind"] == "Terminal"]
