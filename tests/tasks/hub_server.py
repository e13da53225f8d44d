"""A hub on the loopback: serves files of data sets as the real one does, remembers what it was asked, refuses on order.

Run the reader in another process with `environment(server, cache)`: the hub's client reads its endpoint when imported.
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

COMMIT = "c" * 40


class Hub(http.server.ThreadingHTTPServer):
    """files: {(data set, path): content}. refusals: {data set: (status, X-Error-Code)}. asked: request paths.

    manner: `good`; `down` answers 503; `silent` accepts and says nothing; `cut` ends in the middle of a file.
    """

    daemon_threads = True

    def __init__(self, files, *, refusals=None, commits=None, manner="good"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.refusals = refusals or {}
        self.commits = commits or {}
        self.manner = manner
        self.released = threading.Event()
        self.asked: list[str] = []

    def commit(self, dataset):
        return self.commits.get(dataset, COMMIT)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def _answer(self, *, body):
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.manner == "silent":
            self.server.released.wait(60)
            return
        if self.server.manner == "down":
            self._refuse(503, "ServiceUnavailable")
            return
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        is_api = parts[:2] == ["api", "datasets"]
        dataset = "/".join(parts[2:4] if is_api else parts[1:3])
        rest = parts[4:] if is_api else parts[3:]
        known = {path for name, path in self.server.files if name == dataset}
        commit = self.server.commit(dataset)
        if dataset in self.server.refusals:
            self._refuse(*self.server.refusals[dataset])
        elif not known:
            self._refuse(404, "RepoNotFound")
        elif len(rest) > 1 and rest[1] not in (commit, "main"):
            self._refuse(404, "RevisionNotFound")
        elif is_api and rest[:1] == ["tree"]:
            listed = [self._entry(path, self.server.files[dataset, path]) for path in sorted(known)]
            self._send(json.dumps(listed).encode(), body, {"Content-Type": "application/json"})
        elif is_api:
            told = {"id": dataset, "sha": commit, "siblings": [{"rfilename": path} for path in sorted(known)]}
            self._send(json.dumps(told).encode(), body, {"Content-Type": "application/json"})
        elif (path := "/".join(rest[2:])) in known:
            content = self.server.files[dataset, path]
            etag = hashlib.sha256(content).hexdigest()
            told = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Content-Length": str(len(content))}
            self._send(content[: len(content) // 2] if self.server.manner == "cut" else content, body, told)
        else:
            self._refuse(404, "EntryNotFound")

    def _entry(self, path, content):
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _send(self, content, body, headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", f"refused: {code}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        return None


@contextmanager
def serving(files, **settings):
    """A running hub."""
    server = Hub(files, **settings)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


_PROGRAM = """
import json, sys
from pathlib import Path
from hicra_cli.core.errors import HicraError
from hicra_cli.tasks import hub
from hicra_cli.tasks.benchmarks import load_benchmark
hub.HUB_TIMEOUT_S = 2.0
for name, options in json.loads(sys.argv[1]):
    try:
        bench = load_benchmark(name, data_dir=None, **options)
        rows = [[each.id, each.text, each.answer, dict(each.metadata)] for each in bench.prompts]
        told = {"name": bench.name, "rows": rows, "warnings": bench.warnings, "source": bench.source,
                "revision": bench.revision, "samples": bench.default_samples, "rows_sha256": bench.rows_sha256,
                "doubtful": {each.id: each.corrected for each in bench.doubtful.values()}}
    except HicraError as error:
        told = {"exit_code": error.exit_code, "what": error.what, "where": error.where, "fix": error.fix}
    print(json.dumps(told))
"""


def loaded(asked, *, cache: Path, hub: Hub | None = None, **settings):
    """What a new process finds for each (name, options of load_benchmark), with no hub where none is given."""
    endpoint = {"HF_HUB_OFFLINE": "1"} if hub is None else {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(asked)],
        env={**kept, **endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
