"""A Kubernetes cluster, asked what the tests ask the Docker engine (engine.py): the same methods with the same answers, so that one test runs on
both. KUBECONFIG names the cluster (tests/cluster/cluster starts one).

The service reaches the cluster with the rights that deploy/kubernetes gives it and no more."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import time
import urllib.parse

from .client import wait_until
from .engine import Engine
from .service import TOP, binary, environment, free_port

MANAGED = "app.kubernetes.io/managed-by=terminals"
EXACT = ("openwebui.com/user-id", "openwebui.com/policy-id", "openwebui.com/context-id")
CORE = {"pods", "secrets", "services", "persistentvolumeclaims", "namespaces"}
MANIFESTS = TOP / "deploy" / "kubernetes"
PATIENCE = 90       # seconds for a node and a volume: other suites keep the cluster busy


class Api:
    """The API server, with the tester's own credentials."""

    def __init__(self):
        config = json.loads(subprocess.run(["kubectl", "config", "view", "--raw", "-o", "json"], check=True, capture_output=True, text=True).stdout)
        self.cluster, self.user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = urllib.parse.urlsplit(self.cluster["server"]).netloc
        self.tls = ssl.create_default_context(cafile=self.cluster["certificate-authority"])

    def call(self, method, path, body=None, kind="application/json"):
        """The parsed answer, or None where there is no such thing."""
        connection = http.client.HTTPSConnection(self.host, context=self.tls, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Authorization": f"Bearer {self.user['token']}", "Content-Type": kind, "Accept": "application/json"})
            answer = connection.getresponse()
            data = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        if answer.status == 404:
            return None
        assert answer.status < 400, f"{method} {path}: {data.get('message')}"
        return data


class Cluster:
    backend = "kubernetes"
    name_prefix = "terminal"
    crowd = 20
    default_limits = (None, None)
    notices_within = 6          # the kubelet looks once a second, and then starts the container again

    def __init__(self, namespace):
        self.namespace, self.docker, self.api, self.env = namespace, Engine(), Api(), dict(os.environ)
        self.folder = pathlib.Path("/tmp") / f"terminals-e2e-{namespace}"
        self.folder.mkdir()

    # --- a namespace and what the service may do in it -------------------------------------------------------------

    def kubectl(self, *arguments, stdin=None, check=True, timeout=120):
        done = subprocess.run(["kubectl", "-n", self.namespace, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout.strip()

    def open(self, image):
        self.kubectl("create", "namespace", self.namespace)
        self.provide(image)
        self.grant("direct.yaml")
        self.kubeconfig = self.account("terminals-orchestrator")
        return self

    def close(self):
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", check=False)
        self.kubectl("-n", "default", "delete", "role,rolebinding", "-l", f"e2e={self.namespace}", "--ignore-not-found", check=False)

    def grant(self, manifest):
        """The accounts and roles of a manifest, in our namespace."""
        parts = [part for part in (MANIFESTS / manifest).read_text().split("---\n") if re.search(r"^kind: (ServiceAccount|Role|RoleBinding)$", part, re.M)]
        text = "---\n".join(parts).replace('namespace: "terminals"', f'namespace: "{self.namespace}"')
        text = text.replace("terminals-terminals-", f"{self.namespace}-terminals-")
        text = text.replace("app.kubernetes.io/managed-by: kubectl", f"e2e: {self.namespace}")
        assert parts and self.namespace in text
        # Not limited to one namespace: the address of the API server is read in another.
        done = subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr

    def account(self, name):
        """A kubeconfig with a token of that account."""
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": self.api.cluster}],
                  "users": [{"name": "u", "user": {"token": self.kubectl("create", "token", name, "--duration=24h")}}],
                  "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
        file = self.folder / f"{name}.conf"
        file.write_text(json.dumps(config))         # which is YAML too
        return str(file)

    def settings(self):
        """What a service needs to work on this engine."""
        return {"BACKEND": self.backend, "KUBERNETES_NAMESPACE": self.namespace, "KUBERNETES_KUBECONFIG": self.kubeconfig,
                "KUBERNETES_UNSCHEDULABLE_SECONDS": PATIENCE}

    def provide(self, tag):
        """Sees to it that the node has the image as Docker has it."""
        identity = self.docker.run("image", "inspect", "-f", "{{.Id}}", tag)
        mark = pathlib.Path(os.environ["CLUSTER_RUN"]) / ("image-" + re.sub(r"[^a-z0-9.-]", "-", tag))
        if not mark.exists() or mark.read_text() != identity:
            archive = self.folder / "image.tar"
            self.docker.run("save", "-o", str(archive), tag)
            subprocess.run([str(TOP / "tests" / "cluster" / "cluster"), "load", str(archive)], check=True, capture_output=True)
            archive.unlink()
            mark.write_text(identity)

    # --- what there is -----------------------------------------------------------------------------------------------

    def path(self, kind, name=""):
        prefix = "/api/v1" if kind in CORE else "/apis/openwebui.com/v1alpha1"
        return f"{prefix}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def list(self, kind):
        return self.api.call("GET", self.path(kind) + "?labelSelector=" + urllib.parse.quote(MANAGED))["items"]

    @staticmethod
    def terminal_of(thing):
        """The terminal's name: the operator tells it on what it makes, else it is the pod's."""
        marks = thing["metadata"].get("annotations", {})
        return marks.get("openwebui.com/terminal", thing["metadata"]["name"])

    def row(self, thing):
        marks = thing["metadata"].get("annotations", {})
        user, policy, context = (marks.get(name, "") for name in EXACT)
        return self.terminal_of(thing), user, policy or "default", context

    @staticmethod
    def is_guest(pod):
        """And not one of the short-lived pods that empty homes."""
        return pod["metadata"]["labels"].get("openwebui.com/wipe") != "true" and not pod["metadata"]["name"].endswith("-reset")

    @staticmethod
    def is_up(pod):
        return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]

    def pods(self, running=None):
        return [pod for pod in self.list("pods") if self.is_guest(pod) and (not running or self.is_up(pod))]

    def containers(self, user=None, running=None):
        """(name, user, policy, context) of our pods, of one user or of those whose id begins with `user`."""
        rows = [self.row(pod) for pod in self.pods(running)]
        return [row for row in rows if user is None or row[1].startswith(user)]

    def volumes(self, user=None):
        rows = [self.row(claim) for claim in self.list("persistentvolumeclaims") if "deletionTimestamp" not in claim["metadata"]]
        return [row for row in rows if user is None or row[1].startswith(user)]

    def pod(self, name):
        return next((pod for pod in self.pods() if self.terminal_of(pod) == name), None)

    def pod_of(self, user):
        found = [pod for pod in self.pods() if self.row(pod)[1].startswith(user)]
        assert len(found) == 1, f"{user} has {[self.row(pod) for pod in found]}"
        return found[0]

    def id_of(self, user):
        return self.pod_of(user)["metadata"]["uid"]

    def name_id(self, name):
        return self.pod(name)["metadata"]["uid"]

    def is_running(self, user):
        return self.is_up(self.pod_of(user))

    def labels_of(self, name):
        """As on Docker, where label values are free: what is exact stands in annotations here."""
        metadata = self.pod(name)["metadata"]
        return {**metadata["labels"], **metadata["annotations"], "openwebui.com/policy": self.row(self.pod(name))[2]}

    def env_of(self, user, context=None):
        pod = next(pod for pod in self.pods() if self.row(pod)[1].startswith(user) and context in (None, self.row(pod)[3]))
        guest = next(each for each in pod["spec"]["containers"] if each["name"] == "open-terminal")
        return {entry["name"]: entry["value"] if "value" in entry else self.secret(**entry["valueFrom"]["secretKeyRef"])
                for entry in guest["env"] if "value" in entry or "secretKeyRef" in entry.get("valueFrom", {})}

    def secret(self, name, key, **_):
        return base64.b64decode(self.api.call("GET", self.path("secrets", name))["data"][key]).decode()

    def guest_key(self, user, context=None):
        return self.env_of(user, context)["OPEN_TERMINAL_API_KEY"]

    # --- doing ---------------------------------------------------------------------------------------------------------

    def in_guest(self, name, *command, user=None, check=True):
        return self.kubectl("exec", self.pod(name)["metadata"]["name"], "-c", "open-terminal", "--", *command, check=check)

    def delete(self, kind, name, grace=None):
        with contextlib.suppress(AssertionError):
            self.api.call("DELETE", self.path(kind, name), None if grace is None else {"gracePeriodSeconds": grace})

    def remove(self, name):
        """Without a grace the API server forgets the pod at once, and its processes some seconds later."""
        pod = self.pod(name)
        self.delete("pods", pod["metadata"]["name"], grace=0)
        self.kill_processes(pod)

    def stop(self, name):
        self.delete("pods", self.pod(name)["metadata"]["name"], grace=1)

    def kill(self, name):
        """The guest ends at once, as when memory is short; its container is started again."""
        self.kill_processes(self.pod(name))

    restart = kill

    @staticmethod
    def kill_processes(pod):
        uid = pod["metadata"]["uid"]
        for process in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and uid in (process / "cgroup").read_text() and (process / "comm").read_text() != "pause\n":
                    os.kill(int(process.name), signal.SIGKILL)

    def clean(self, prefixes):
        """Removes the terminals and homes whose user or policy begins with one of the prefixes, and nothing else."""
        prefixes = prefixes if isinstance(prefixes, tuple) else (prefixes,)
        for kind in ("pods", "services", "secrets", "persistentvolumeclaims"):
            for thing in self.list(kind):
                if any(part.startswith(prefixes) for part in self.row(thing)[1:3]):
                    self.delete(kind, thing["metadata"]["name"], grace=0)

    def original_name(self, *arguments):
        from .names import original_name
        return original_name(*arguments, prefix=self.name_prefix)


class OperatedCluster(Cluster):
    """The backend kubernetes-operator, with one operator for the whole session."""
    backend = "kubernetes-operator"
    crowd = 14                          # the resource asks for a tenth of a core each, and the node has two
    default_limits = (1.0, 1 << 30)     # the resource's

    def open(self, image):
        self.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
        self.kubectl("create", "namespace", self.namespace)
        self.provide(image)
        self.grant("orchestrator.yaml")
        self.grant("operator.yaml")
        self.kubeconfig = self.account("terminals-orchestrator")
        settings = {"KUBERNETES_NAMESPACE": self.namespace, "KUBERNETES_KUBECONFIG": self.account("terminals-operator"), "HOST": "127.0.0.1",
                    "STATE_DIR": str(self.folder), "OPERATOR_PORT": free_port(), "LOG_LEVEL": "DEBUG", "IMAGE": image,
                    "KUBERNETES_UNSCHEDULABLE_SECONDS": PATIENCE}
        env = environment(self.folder, {f"TERMINALS_{name}": value for name, value in settings.items()})
        self.operator = subprocess.Popen([binary(), "operator"], env=env, cwd=self.folder, stdin=subprocess.DEVNULL,
                                         stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT)
        wait_until(lambda: "this replica leads" in (self.folder / "log").read_text(), 20, what="the operator's lead")
        return self

    def close(self):
        self.clean(("",))
        wait_until(lambda: not self.list("terminals"), 30, what="the end of all Terminals")
        super().close()
        self.operator.terminate()
        assert self.operator.wait(30) == 0, (self.folder / "log").read_text(errors="replace")[-4000:]
        reports = "\n".join(file.read_text(errors="replace") for file in self.folder.glob("sanitizer.*"))
        assert not reports, reports

    def list(self, kind):
        if kind == "terminals":
            return self.api.call("GET", self.path(kind))["items"]
        return super().list(kind)

    def labels_of(self, name):
        """The resource carries them all, its pod only the original's."""
        resource = self.api.call("GET", self.path("terminals", name))["metadata"]
        return {**resource["labels"], **super().labels_of(name)}

    def clean(self, prefixes):
        prefixes = prefixes if isinstance(prefixes, tuple) else (prefixes,)
        for terminal in self.list("terminals"):
            spec = terminal["spec"]
            if spec["userId"].startswith(prefixes) or spec.get("policyId", "").startswith(prefixes):
                self.delete("terminals", terminal["metadata"]["name"])
        super().clean(prefixes)
