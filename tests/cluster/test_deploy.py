"""What is deployed: the Helm chart and the manifests made from it, with our own image, in pods that may do as little as possible."""
import base64
import json
import os
import pathlib
import secrets
import subprocess
import urllib.error
import urllib.request

import pytest

from kube import GUEST, TOP, Kube, Refused, wait_for

CHART, MANIFESTS = TOP / "deploy" / "helm" / "terminals", TOP / "deploy" / "kubernetes"
VERSION = (TOP / "VERSION").read_text().strip()
VALUES = {"image.repository": "terminals", "orchestrator.terminalImage": GUEST, "crd.install": "false"}


@pytest.fixture(scope="session")
def helm():
    path = subprocess.run([TOP / "tools" / "get-helm"], check=True, capture_output=True, text=True).stdout.strip()

    def run(*arguments, check=True, **values):
        sets = [part for name, value in {**VALUES, **values}.items() for part in ("--set", f"{name}={value}")] if arguments[0] != "uninstall" else []
        if arguments[0] == "template":
            sets += ["--kube-version", "1.34.0"]        # it does not ask the cluster
        done = subprocess.run([path, *arguments, *sets], capture_output=True, text=True, timeout=180)
        if check and done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout if check else (done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture(scope="session")
def image():
    """The built program as the image that the manifests name."""
    binary = os.environ.get("TERMINALS_IMAGE_BINARY", str(TOP / "build" / "terminals"))
    subprocess.run([TOP / "tests" / "cluster" / "own-image", binary, f"docker.io/library/terminals:{VERSION}"], check=True)


def make_namespace(name, **labels):
    Kube().run("create", "namespace", name)
    if labels:
        Kube().run("label", "namespace", name, *(f"{key.replace('__', '/').replace('_', '-')}={value}" for key, value in labels.items()))
    return Kube(name)


@pytest.fixture
def namespaces():
    """Makes namespaces, and removes them with the volumes that were made for them."""
    made = []

    def make(name=None, **labels):
        made.append(make_namespace(name or f"deploy-{secrets.token_hex(3)}", **labels))
        return made[-1]

    yield make
    for kube in made:
        # An operator that runs removes its finalizers; where none does, we do.
        kube.run("delete", "terminals", "--all", "--timeout=10s", check=False)
        for found in kube.list("terminals"):
            kube.run("patch", "terminal", found["metadata"]["name"], "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)
        Kube().run("delete", "namespace", kube.namespace, "--wait=false")
        Kube().run("delete", "pv", "-l", f"for={kube.namespace}", "--wait=false")
        Kube().run("-n", "default", "delete", "role,rolebinding", f"{kube.namespace}-terminals-orchestrator-api-server", "--ignore-not-found")


def reserve_volume(kube, claim, folder):
    """A volume of a kind that heeds fsGroup, for that claim; the test cluster's own provisioner gives folders that only root can write."""
    make_volume(kube, claim, folder, "standard", {"namespace": kube.namespace, "name": claim})


def make_volume(kube, name, folder, storage_class, claim=None):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    Kube().apply({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{kube.namespace}-{name}", "labels": {"for": kube.namespace}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class, "local": {"path": str(folder)},
                 "persistentVolumeReclaimPolicy": "Retain", **({"claimRef": claim} if claim else {}),
                 "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                     {"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}}}})


class Deployed:
    """The orchestrator behind its Service."""

    def __init__(self, kube, service, secret):
        self.kube = kube
        self.address = kube.get("service", service)["spec"]["clusterIP"]
        self.key = base64.b64decode(kube.get("secret", secret)["data"]["api-key"]).decode()

    def ask(self, path, data=None, user=None, method=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **({"X-User-Id": user} if user else {})}
        request = urllib.request.Request(f"http://{self.address}:3000{path}", None if data is None else json.dumps(data).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def run(self, user, command):
        status, told = self.ask("/execute?wait=20", {"command": "sleep 0.1; " + command}, user)
        assert status == 200, told
        return "".join(piece["data"] for piece in told["output"]).replace("\r\n", "\n")


def wait_rollout(kube, name):
    kube.run("rollout", "status", f"deployment/{name}", "--timeout=90s", timeout=100)


def check_doctor(kube, deployment):
    told = kube.run("exec", f"deploy/{deployment}", "--", "/usr/local/bin/terminals", "doctor", check=False)
    lines = {line[6:25].strip(): line for line in told.splitlines() if line[:4] in ("ok  ", "FAIL")}
    assert lines["permissions"].startswith("ok"), told
    assert not [line for line in lines.values() if line.startswith("FAIL")], told


def check_confined(kube, component):
    """What the node was told to enforce, in the pod as it runs."""
    for pod in kube.list("pods", f"app.kubernetes.io/component={component}"):
        spec, container = pod["spec"], pod["spec"]["containers"][0]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


# --- the chart -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("backend,own", [("kubernetes", False), ("kubernetes-operator", False), ("kubernetes", True), ("kubernetes-operator", True)],
                         ids=["pods", "operator", "pods in a namespace of their own", "operator, terminals in a namespace of their own"])
def test_chart_serves_a_user(helm, image, namespaces, tmp_path, backend, own):
    """In a namespace that admits only pods which satisfy the strictest of Kubernetes' own standards, where terminals have another."""
    kube = namespaces(**({"pod_security.kubernetes.io__enforce": "restricted"} if own else {}))
    guests = namespaces() if own else kube
    reserve_volume(kube, "terminals-orchestrator", tmp_path / "volume")
    values = {"orchestrator.backend": backend, "terminalsNamespace": guests.namespace if own else ""}
    told = helm("install", "terminals", str(CHART), "-n", kube.namespace, "--wait", "--timeout", "90s", **values)
    assert f"http://terminals-orchestrator.{kube.namespace}.svc:3000" in told
    deployed = Deployed(kube, "terminals-orchestrator", "terminals-api-key")
    assert len(deployed.key) == 40
    assert deployed.run("alice", "echo kept > mark; id -u") == "1000\n"
    assert deployed.ask("/api/v1/status")[1]["backend"] == backend
    assert len([pod for pod in guests.list("pods", "app.kubernetes.io/managed-by=terminals")]) == 1
    assert guests.list("networkpolicies"), "guests are fenced in"
    check_doctor(kube, "terminals-orchestrator")
    check_confined(kube, "orchestrator")
    # The key and the policies outlive an upgrade, and alice does not notice.
    assert deployed.ask("/api/v1/policies/p", {"cpu_limit": "1"}, method="PUT")[0] == 200
    helm("upgrade", "terminals", str(CHART), "-n", kube.namespace, "--wait", "--timeout", "90s", **values, **{"orchestrator.logLevel": "DEBUG"})
    again = Deployed(kube, "terminals-orchestrator", "terminals-api-key")
    assert again.key == deployed.key and again.ask("/api/v1/policies/p")[1]["data"] == {"cpu_limit": "1"}
    assert again.run("alice", "cat mark") == "kept\n"
    # Homes and the database outlive the release.
    helm("uninstall", "terminals", "-n", kube.namespace)
    claims = {claim["metadata"]["name"] for space in (kube, guests) for claim in space.list("pvc")}
    assert "terminals-orchestrator" in claims and len(claims) == 2


@pytest.mark.parametrize("backend", ["kubernetes", "kubernetes-operator"])
def test_guests_without_root_keep_their_homes(helm, image, namespaces, tmp_path, backend):
    """Everything in one namespace that admits only what satisfies the strictest standard, guests included."""
    kube = namespaces(**{"pod_security.kubernetes.io__enforce": "restricted"})
    reserve_volume(kube, "terminals-orchestrator", tmp_path / "volume")
    make_volume(kube, "home", tmp_path / "home", kube.namespace)
    helm("install", "terminals", str(CHART), "-n", kube.namespace, "--wait", "--timeout", "90s",
         **{"orchestrator.backend": backend, "terminals.restricted": "true", "terminals.storageClass": kube.namespace,
            "terminals.podSecurityContext.runAsUser": 1000})
    deployed = Deployed(kube, "terminals-orchestrator", "terminals-api-key")
    assert deployed.run("alice", "echo kept > mark; id -u; sudo -n true 2>/dev/null || echo confined") == "1000\nconfined\n"
    assert deployed.ask("/api/v1/terminals/stop", {"user_id": "alice"})[1]["stopped"] == 1
    assert deployed.run("alice", "cat mark") == "kept\n"
    assert deployed.ask("/api/v1/terminals/refresh", {"user_id": "alice", "only_idle": False, "reset": True})[1]["reset"] == 1
    assert deployed.run("alice", "ls mark 2>/dev/null || echo none") == "none\n"


@pytest.mark.parametrize("values,text", [
    ({"orchestrator.replicas": 2}, "SQLite belongs to one process"), ({"apiKey": "a", "existingSecret": "b"}, "set one of them"),
    ({"orchestrator.backend": "docker"}, "backend"), ({"orchestrater.backend": "kubernetes"}, "orchestrater"),
    ({"orchestrator.databaseUrl": "sqlite:///x"}, "databaseUrl"), ({"orchestrator.settings.TERMINALS_MAX_CPU": "2"}, "TERMINALS_MAX_CPU"),
    ({"orchestrator.idleTimeoutMinutes": -1}, "idleTimeoutMinutes"), ({"terminals.storageMode": "mine"}, "storageMode"),
    ({"operator.port": 80}, "port"), ({"fullnameOverride": "Not_a_name"}, "fullnameOverride"), ({"nameOverride": "-x"}, "nameOverride"),
    ({"operator.namespaces[0]": "elsewhere"}, "operator.namespaces: the orchestrator makes Terminals in the namespace default"),
    ({"operator.namespaces[0]": "elsewhere", "terminalsNamespace": "here"}, "in the namespace here")], ids=str)
def test_values_that_cannot_be_are_refused(helm, values, text):
    status, told = helm("template", "t", str(CHART), check=False, **values)
    assert status != 0 and text in told


VARIATIONS = {
    "as it is": {}, "pods": {"orchestrator.backend": "kubernetes"}, "all namespaces": {"operator.namespaces[0]": "*"},
    "some namespaces": {"operator.namespaces[0]": "default", "operator.namespaces[1]": "kube-public", "terminalsNamespace": "default", "operator.pvcRetentionHours": 24},
    "a server for the database": {"orchestrator.replicas": 3, "orchestrator.databaseSecret.name": "db"},
    "much": {"orchestrator.service.type": "NodePort", "orchestrator.settings.MAX_CPU": "2", "orchestrator.openWebuiUrl": "http://open-webui:8080",
             "orchestrator.persistence.enabled": "false", "terminals.storageMode": "shared", "terminals.storageClass": "standard",
             "terminals.tolerations[0].key": "x", "terminals.nodeSelector.a": "b", "terminals.labels.team": "data", "terminals.restricted": "true",
             "terminals.address": "service", "terminals.podSecurityContext.runAsUser": 1000, "networkPolicy.deniedCidrs[0]": "10.0.0.0/8",
             "networkPolicy.orchestrator.from[0].podSelector.matchLabels.app": "open-webui", "operator.replicas": 2, "imagePullSecrets[0].name": "r"},
    "nothing extra": {"rbac.create": "false", "orchestrator.serviceAccount.create": "false", "operator.serviceAccount.create": "false",
                      "networkPolicy.guests": "false", "networkPolicy.orchestrator.enabled": "false", "orchestrator.podDisruptionBudget.enabled": "false"},
}


@pytest.mark.parametrize("values", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_every_variation_is_taken_by_the_server(helm, kube, values):
    """Rendered, and checked by the API server as strictly as it can, without being made."""
    rendered = helm("template", "terminals", str(CHART), "-n", kube.namespace, **values)
    Kube().run("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)


LIKE_NUMBERS = {
    "existingSecret": "123", "existingSecretKey": "true", "nameOverride": "1e3", "terminalsNamespace": "default", "crd": {"group": "0123", "install": False},
    "terminals": {"storageClass": "7", "labels": {"a": "1", "b": "on"}}, "networkPolicy": {"deniedCidrs": ["10.0.0.0/8", "fd00::/8"]},
    **{part: {"priorityClassName": "007", "nodeSelector": {"a": "true"}, "podLabels": {"b": "1"}, "serviceAccount": {"create": True, "name": "89"}}
       for part in ("orchestrator", "operator")}}
PERSISTENCE = {"a volume of ours": {"persistence": {"size": "10", "storageClass": "5"}}, "a volume of theirs": {"persistence": {"existingClaim": "3"}},
               "a server": {"databaseSecret": {"name": "1", "key": "2"}}}


@pytest.mark.parametrize("persistence", PERSISTENCE.values(), ids=PERSISTENCE.keys())
def test_texts_that_look_like_numbers_stay_texts(helm, kube, tmp_path, persistence):
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps({**LIKE_NUMBERS, "orchestrator": {**LIKE_NUMBERS["orchestrator"], **persistence}}))
    rendered = helm("template", "terminals", str(CHART), "-n", kube.namespace, "-f", str(values))
    Kube().run("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)


def test_chart_has_no_mistakes_that_helm_finds(helm):
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_monitors_are_asked_for(helm):
    rendered = helm("template", "terminals", str(CHART), **{"serviceMonitor.enabled": "true"})
    assert "kind: ServiceMonitor" in rendered and "kind: PodMonitor" in rendered and 'name: "terminals-api-key", key: "api-key"' in rendered


# --- the manifests ---------------------------------------------------------------------------------------------------

def test_manifests_are_those_of_the_chart():
    done = subprocess.run([TOP / "tools" / "render-manifests", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("files,backend", [(["direct.yaml"], "kubernetes"), (["crd.yaml", "operator.yaml", "orchestrator.yaml"], "kubernetes-operator")],
                         ids=["pods", "operator"])
def test_manifests_serve_a_user(image, namespaces, tmp_path, files, backend):
    """As docs/kubernetes.md says, in the namespace that it says."""
    wait_for("the namespace of an earlier run is gone", lambda: Kube().get("namespace", "terminals") is None, 60)
    kube = namespaces("terminals")
    reserve_volume(kube, "terminals-orchestrator", tmp_path / "volume")
    kube.run("create", "secret", "generic", "terminals-api-key", f"--from-literal=api-key={secrets.token_hex(24)}")
    for file in files:
        Kube().run("apply", "-f", str(MANIFESTS / file))
    kube.run("set", "env", "deployment/terminals-orchestrator", f"TERMINALS_IMAGE={GUEST}")
    wait_rollout(kube, "terminals-orchestrator")
    deployed = Deployed(kube, "terminals-orchestrator", "terminals-api-key")
    assert deployed.run("bob", "pwd") == "/home/user\n" and deployed.ask("/api/v1/status")[1]["backend"] == backend
    check_doctor(kube, "terminals-orchestrator")
    for component in ("orchestrator", *(["operator"] if "operator.yaml" in files else [])):
        check_confined(kube, component)


# --- what they may do ------------------------------------------------------------------------------------------------

MAY_NOT = {
    "kubernetes": {"orchestrator": ["create pods/exec", "update secrets", "create roles", "list nodes", "get namespaces", "create serviceaccounts/token",
                                    "impersonate users", "patch services", "list persistentvolumeclaims", "get configmaps", "get terminals.openwebui.com"]},
    "kubernetes-operator": {
        "orchestrator": ["create pods", "delete pods", "create secrets", "list secrets", "delete terminals.openwebui.com", "create pods/exec", "list nodes",
                         "create persistentvolumeclaims", "get services"],
        "operator": ["delete persistentvolumeclaims", "create terminals.openwebui.com", "delete terminals.openwebui.com", "create pods/exec", "get pods/log",
                     "update secrets", "create roles", "list nodes", "get namespaces", "delete leases.coordination.k8s.io"]},
}


@pytest.mark.parametrize("backend", MAY_NOT)
def test_rights_end_where_the_need_ends(helm, namespaces, backend):
    kube, other = namespaces(), namespaces()
    rendered = helm("template", "terminals", str(CHART), "-n", kube.namespace, **{"orchestrator.backend": backend})
    parts = [part for part in rendered.split("---\n") if "kind: Role" in part or "kind: ServiceAccount" in part]
    assert not [part for part in parts if "kind: ClusterRole" in part] and parts
    Kube().run("apply", "-f", "-", stdin="---\n".join(parts))

    def may(account, sentence, where):
        verb, _, what = sentence.partition(" ")
        what, _, part = what.partition("/")
        return where.run("auth", "can-i", verb, what, *([f"--subresource={part}"] if part else []), f"--as=system:serviceaccount:{kube.namespace}:terminals-{account}", check=False).startswith("yes")

    for account, sentences in MAY_NOT[backend].items():
        assert [sentence for sentence in sentences if may(account, sentence, kube)] == [], account
        elsewhere = ["get secrets", "list pods", "get pods", "create pods", "list terminals.openwebui.com", "list secrets"]
        assert [sentence for sentence in elsewhere if may(account, sentence, other)] == [], account
    assert may("orchestrator", "list pods", kube)


def test_volume_that_cannot_be_written_is_told(helm, image, namespaces):
    """The test cluster's own volumes belong to root and do not heed fsGroup: the log says what to do."""
    kube = namespaces()
    helm("install", "terminals", str(CHART), "-n", kube.namespace, **{"orchestrator.backend": "kubernetes"})

    def log():
        return kube.run("logs", "deployment/terminals-orchestrator", "--tail=20", check=False)

    text = wait_for("the reason", lambda: "not writable" in log() and log(), 60)
    assert "chown 65532" in text and "TERMINALS_STATE_DIR" in text
    with pytest.raises(Refused):
        kube.run("rollout", "status", "deployment/terminals-orchestrator", "--timeout=1s")
