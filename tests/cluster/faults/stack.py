"""One namespace with everything of ours that works on it: an orchestrator, with the operator or without, each behind a proxy of its own, and one user
whose terminal is led through its life."""
import concurrent.futures
import http.client
import json
import secrets
import time
import urllib.request

from kube import wait_for
from program import KEY, Program

from api import Api
from proxy import Proxy

GUEST = "test.local/small-guest:1"
USER = "ann@example.org"
OURS = "app.kubernetes.io/managed-by=terminals"
PATIENCE = 60           # seconds in which everything comes right, on a machine that has much else to do


class Stack:
    def __init__(self, server, folder, backend):
        self.backend, self.folder = backend, folder
        self.namespace = f"f-{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        self.api = Api(server, self.namespace)
        self.api.create("namespaces", {"metadata": {"name": self.namespace}})
        wait_for("the namespace's account", lambda: self.api.get("serviceaccounts", "default"))
        self.front, self.back = Proxy(server, folder, "front"), Proxy(server, folder, "back")
        self.service = self.operator = None
        self.programs, self.home = [], None
        self.settings = {}

    @property
    def operated(self):
        return self.backend == "kubernetes-operator"

    def close(self):
        try:
            self.front.clear(), self.front.release(), self.back.clear(), self.back.release()
            for program in self.programs:
                program.stop()
        finally:
            self.front.close(), self.back.close()
            for terminal in self.api.list("terminals"):
                self.api.patch("terminals", terminal["metadata"]["name"], {"metadata": {"finalizers": None}})
            self.api.delete("namespaces", self.namespace)

    # --- programs ----------------------------------------------------------------------------------------------------

    def program(self, command, proxy, **settings):
        settings = {"BACKEND": self.backend, "IMAGE": GUEST, "KUBERNETES_KUBECONFIG": proxy.kubeconfig(), **self.settings, **settings}
        made = Program(command, self.folder / command, self.namespace, **settings)
        self.programs.append(made)
        return made

    def serve(self, **settings):
        self.service = self.program("serve", self.front, **settings).start()
        return self.service

    def operate(self, **settings):
        """The lease of one that was killed is taken away, as if its time were over: how that goes is not what is tried here."""
        self.api.delete("leases", "terminals-operator")
        self.operator = self.program("operator", self.back, **settings).start()
        wait_for("it leads", lambda: self.operator.metrics().get("terminals_operator_leading") == 1, 30)
        return self.operator

    def begin(self, **settings):
        if self.operated:
            self.operate(**settings)
        self.serve(**settings)
        return self

    def wait_killed(self, program):
        wait_for("the program dies in the call", lambda: program.process.poll() is not None, 40)
        assert program.process.returncode == -9, program.log_text()[-2000:]
        program.process = None
        program.log.close()

    # --- what a user does --------------------------------------------------------------------------------------------

    def call(self, method, path, body=None, user=USER, timeout=130):
        request = urllib.request.Request(f"http://127.0.0.1:{self.service.port}{path}", None if body is None else json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {KEY}", "X-User-Id": user, "Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def ask(self, user=USER):
        """Once, whatever comes of it."""
        return self.call("GET", "/files/cwd", user=user)

    def use(self, user=USER, timeout=PATIENCE):
        """Asks until the terminal answers, as a user would."""
        deadline = time.monotonic() + timeout
        while True:
            status, text = self.ask(user)
            if status == 200:
                return
            assert time.monotonic() < deadline, f"{status} {text}"
            time.sleep(0.2)

    def keep(self, text, user=USER):
        status, answer = self.call("GET", f"/cgi-bin/keep?{text}", user=user)
        assert status == 200, answer

    def kept(self, user=USER):
        status, text = self.call("GET", "/home/user/kept", user=user)
        return text.strip() if status == 200 else None

    def stop_terminal(self, user=USER):
        return self.call("POST", "/api/v1/terminals/stop", {"user_id": user})

    def phase(self, user=USER):
        status, text = self.call("GET", "/api/v1/terminals")
        return next((row.get("phase") for row in json.loads(text) if row["user_id"] == user), None) if status == 200 else None

    # --- the steps of a life -----------------------------------------------------------------------------------------

    def create(self):
        self.use()
        self.keep("one")
        self.home = self.only("persistentvolumeclaims")["metadata"]["uid"]

    def idle(self):
        self.stop_terminal()

    def wake(self):
        self.use()

    def reset(self):
        return self.call("POST", "/api/v1/terminals/refresh", {"user_id": USER, "only_idle": False, "reset": True})

    def delete(self):
        if self.operated:
            for terminal in self.api.list("terminals"):
                self.api.delete("terminals", terminal["metadata"]["name"])
        else:
            self.stop_terminal()

    # --- what there must be ------------------------------------------------------------------------------------------

    def there(self, kind):
        return [found for found in self.api.list(kind, OURS) if "deletionTimestamp" not in found["metadata"]]

    def only(self, kind):
        found = self.there(kind)
        assert len(found) == 1, f"{kind}: {[each['metadata']['name'] for each in found]}"
        return found[0]

    def counts(self):
        kinds = ("pods", "services", "secrets", "persistentvolumeclaims") + (("terminals",) if self.operated else ())
        return tuple(len(self.api.list(kind, OURS)) for kind in kinds)

    def expect(self, what, *counts, timeout=PATIENCE, using=False):
        """One of these `counts`, in the end."""
        try:
            wait_for(what, lambda: self.counts() in counts or (using and self.use()), timeout, every=0.3)
        except AssertionError as late:
            raise AssertionError(f"{late}: there are {self.counts()} and not {counts} pods, Services, Secrets, claims, Terminals\n{self.tell()}") from None

    def is_awake(self, kept="one"):
        """Everything is there once and works, and the home is the one that it was. An answer alone may be the last one of a pod that was just ended."""
        self.use()
        self.expect("all is there once", (1, 1, 1, 1) + ((1,) if self.operated else ()), using=True)
        claim = self.only("persistentvolumeclaims")["metadata"]["uid"]
        assert self.home in (None, claim), "the home is another"
        if kept:
            assert self.kept() == kept, "what was in the home is lost"

    def is_asleep(self, timeout=PATIENCE):
        # The operator keeps the key and the address of one that sleeps.
        self.expect("only the home is left", (0, 1, 1, 1, 1) if self.operated else (0, 0, 0, 1), timeout=timeout)
        if self.operated:
            wait_for("it says that it sleeps", lambda: self.only("terminals")["status"].get("phase") == "Idle")

    def is_gone(self, timeout=PATIENCE):
        self.expect("only the home is left", (0, 0, 0, 1, 0) if self.operated else (0, 0, 0, 1), timeout=timeout)
        claim = self.only("persistentvolumeclaims")["metadata"]["uid"]
        assert self.home in (None, claim), "the home is lost"

    def live(self):
        """To the end of a whole life, from a beginning of which nothing need be known."""
        self.is_awake()
        self.idle()
        self.is_asleep()
        self.wake()
        self.is_awake()
        self.delete()
        self.is_gone()

    def tell(self):
        logs = [program.log_text()[-3000:] for program in (self.service, self.operator) if program]
        return "\n--\n".join(json.dumps(found.get("status")) for found in self.api.list("terminals")) + "\n" + "\n----\n".join(logs)

    @staticmethod
    def meanwhile(work):
        """Begins `work`; .result() waits for it."""
        pool = concurrent.futures.ThreadPoolExecutor(1)
        future = pool.submit(work)
        pool.shutdown(wait=False)
        return future
