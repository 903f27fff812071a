"""The API server as the tester reaches it: plain calls with the credentials of the kubeconfig that KUBECONFIG names. Any thread."""
import http.client
import json
import os
import ssl
import subprocess
import threading
import urllib.parse

from kube import kubectl_path

CORE = {"pods", "secrets", "services", "persistentvolumeclaims", "namespaces", "serviceaccounts", "nodes", "events"}
GROUPS = {"terminals": "openwebui.com/v1alpha1", "leases": "coordination.k8s.io/v1", "networkpolicies": "networking.k8s.io/v1"}


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Server:
    """Where it is and who we are."""

    def __init__(self):
        shown = subprocess.run([kubectl_path(), "config", "view", "--raw", "--minify", "-o", "json"], check=True, capture_output=True, text=True,
                               env=os.environ).stdout
        config = json.loads(shown)
        self.cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = urllib.parse.urlsplit(self.cluster["server"]).netloc
        self.authorization = f"Bearer {user['token']}"
        self.tls = ssl.create_default_context(cafile=self.cluster["certificate-authority"])

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.host, context=self.tls, timeout=timeout)


class Api:
    """One namespace. Objects are dicts; a missing one is None."""

    def __init__(self, server, namespace):
        self.server, self.namespace, self.local = server, namespace, threading.local()

    def path(self, kind, name="", subresource=""):
        prefix = "/api/v1" if kind in CORE else f"/apis/{GROUPS[kind]}"
        scope = "" if kind in ("namespaces", "nodes") else f"/namespaces/{self.namespace}"
        return f"{prefix}{scope}/{kind}" + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")

    def call(self, method, path, body=None, content_type="application/json"):
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or self.server.connect()
            self.local.connection = connection
            try:
                connection.request(method, path, None if body is None else json.dumps(body),
                                   {"Authorization": self.server.authorization, "Content-Type": content_type, "Accept": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                if attempt == 2:
                    raise
        document = json.loads(data) if data[:1] == b"{" else {}
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise Refused(answer.status, document.get("message", data[:200]))
        return document

    def get(self, kind, name):
        return self.call("GET", self.path(kind, name))

    def list(self, kind, selector=""):
        query = "?labelSelector=" + urllib.parse.quote(selector) if selector else ""
        return self.call("GET", self.path(kind) + query)["items"]

    def create(self, kind, document):
        return self.call("POST", self.path(kind), document)

    def patch(self, kind, name, patch, subresource=""):
        return self.call("PATCH", self.path(kind, name, subresource), patch, "application/merge-patch+json")

    def delete(self, kind, name, grace=None):
        return self.call("DELETE", self.path(kind, name), None if grace is None else {"gracePeriodSeconds": grace})

    def evict(self, pod):
        return self.call("POST", self.path("pods", pod, "eviction"),
                         {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}})
