"""The loopback server's Batch API: jobs that are pending for some looks, and then done."""

import json
import threading
from collections.abc import Callable
from typing import Any

from .service_server import Behaviour, Request, Response, failing, good

Edit = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


class BatchService:
    """A behaviour for `service_server`. pending: looks before a job is done; edit: of the list of responses."""

    def __init__(
        self, *, pending: int = 1, edit: Edit = list, state: str = "BATCH_STATE_SUCCEEDED", single: Behaviour = good
    ) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.looks: list[str] = []
        self.creates: list[Request] = []
        self.singles: list[Request] = []
        self.answer_creates: list[Behaviour] = []
        self._pending = pending
        self._edit = edit
        self.state = state
        self._single = single
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            if request.path.endswith(":batchGenerateContent"):
                return self._create(request)
            if request.method == "GET":
                return self._get(request.path.partition("?")[0])
            self.singles.append(request)
        return self._single(request)

    def _create(self, request: Request) -> Response:
        self.creates.append(request)
        name = f"batches/job-{len(self.jobs)}"
        batch = request.body["batch"]
        self.jobs[name] = {
            "label": batch["displayName"],
            "requests": batch["inputConfig"]["requests"]["requests"],
            "left": self._pending,
        }
        if self.answer_creates:
            return self.answer_creates.pop(0)(request)
        return _body(self._shown(name, "BATCH_STATE_PENDING"))

    def _get(self, path: str) -> Response:
        if path.endswith("/batches"):
            return _body({"operations": [self._shown(name, "BATCH_STATE_RUNNING") for name in self.jobs]})
        name = "batches/" + path.rpartition("/")[2]
        if name not in self.jobs:
            return failing(404, "no such job")(Request(path, {}, {}, 0.0))
        self.looks.append(name)
        job = self.jobs[name]
        job["left"] -= 1
        if job["left"] >= 0:
            return _body(self._shown(name, "BATCH_STATE_RUNNING"))
        shown = self._shown(name, self.state)
        responses = self._edit([self._response(each) for each in job["requests"]])
        shown["metadata"]["output"] = {"inlinedResponses": {"inlinedResponses": responses}}
        return _body(shown)

    def _response(self, asked: dict[str, Any]) -> dict[str, Any]:
        answer = good(Request("/models/x:generateContent", {}, asked["request"], 0.0))
        return {"response": json.loads(answer.body), "metadata": asked.get("metadata", {})}

    def _shown(self, name: str, state: str) -> dict[str, Any]:
        return {"name": name, "metadata": {"displayName": self.jobs[name]["label"], "state": state}}


def _body(body: dict[str, Any]) -> Response:
    return Response(body=json.dumps(body).encode())
