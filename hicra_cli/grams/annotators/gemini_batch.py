"""Gemini's Batch API: half the price, answers within a day, and a job that outlives the run that submitted it.

A job is written to the ledger before it is submitted, under a label of its own, and again when it has got its name; a
killed run finds it by the name, or by the label in the list of jobs, and goes on waiting instead of paying twice. A
response belongs to the request that its metadata names; where the service leaves the metadata out, to the request
whose items it answers: an item's id depends on its gram alone. Never to a position.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import Advance, Progress

from .asking import Item, Question, Terms, read_reply
from .budget import Budget
from .client import Reply, Trouble, short
from .gemini_client import GeminiClient
from .ledger import Answer, Job, Ledger
from .patience import Patience
from .prompt import item_id

# The service takes 20 MB of inlined requests; the rest is for what the SDK adds around them.
JOB_BYTES = 12_000_000
LONGEST_WAIT_S = 48 * 3600.0
DONE = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED")
ENDED = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


class BatchJobs:
    """Submits questions as jobs and reads their results. `terms.price` is that of the Batch API."""

    def __init__(
        self,
        terms: Terms,
        client: GeminiClient,
        ledger: Ledger,
        patience: Patience,
        budget: Budget,
        progress: Progress,
        *,
        poll_s: float,
    ) -> None:
        self._terms = terms
        self._client = client
        self._calls = BatchCalls(client)
        self._ledger = ledger
        self._patience = patience
        self._budget = budget
        self._progress = progress
        self._poll_s = poll_s

    async def settle(self, batches: Sequence[Sequence[Item]], advance: Advance) -> list[list[Item]]:
        """The batches that got no usable answer; all others are in the ledger. Raises ServiceError."""
        items = {item.key: item for batch in batches for item in batch}
        await self._find_lost_jobs()
        taken = {key for job in self._jobs() for _, _, keys in job.requests.values() for key in keys}
        for questions in _cut([self._terms.question(batch) for batch in _without(batches, taken)]):
            await self._submit(questions)
        for job in self._jobs():
            await self._finish(job, items, advance)
        return _without(batches, set(self._ledger.known))

    def _jobs(self) -> list[Job]:
        return self._ledger.open_jobs(self._terms.by)

    async def _find_lost_jobs(self) -> None:
        """Jobs of a run that was killed between submitting and hearing the name."""
        for job in self._jobs():
            if job.name is None:
                found = await self._persist(partial(self._calls.find, job.label))
                await self._named(job, found)

    async def _named(self, job: Job, name: str) -> None:
        if name:
            self._ledger.job(self._terms.by, replace(job, name=name))
        else:
            self._close(job)

    async def _submit(self, questions: Sequence[Question]) -> None:
        by, worst = self._terms.by, [self._terms.worst_cost(each) for each in questions]
        while not self._budget.reserve(sum(worst)):
            await asyncio.sleep(self._poll_s)
        self._budget.settle(sum(worst), sum(worst))
        requests = {
            each.id: (self._ledger.sent(by, cost), cost, [item.key for item in each.batch])
            for each, cost in zip(questions, worst, strict=True)
        }
        first = next(iter(requests.values()))[0]
        label = "hicra-" + hashlib.sha256(f"{by} {first} {' '.join(requests)}".encode()).hexdigest()[:20]
        job = Job(label, None, requests)
        self._ledger.job(by, job)
        try:
            name = await self._persist(partial(self._calls.submit_once, label, questions))
        except ServiceError as error:
            if not isinstance(error, _Lost):
                self._close(job)
            raise
        await self._named(job, name)

    async def _finish(self, job: Job, items: dict[str, Item], advance: Advance) -> None:
        """Wait for a job and keep its answers."""
        started = time.monotonic()
        name = job.name or ""
        while True:
            state, reason, responses = await self._persist(partial(self._calls.look, name))
            if state in DONE:
                break
            if state in ENDED:
                self._close(job)
                raise self._client.service.fatal(f"batch job {name} ended as {state}: {reason}")
            if time.monotonic() - started > LONGEST_WAIT_S:
                raise self._client.service.fatal(f"batch job {name} is not done after two days")
            advance(0, status=f"batch job {name}: {state.removeprefix('JOB_STATE_').lower()}")
            await asyncio.sleep(self._poll_s)
        self._take(job, items, responses, advance)

    def _take(self, job: Job, items: dict[str, Item], responses: Sequence["JobResponse"], advance: Advance) -> None:
        questions = {
            request: self._terms.question([items[key] for key in keys])
            for request, (_, _, keys) in job.requests.items()
            if all(key in items for key in keys)
        }
        reasons: list[str] = []
        read = 0
        for response in responses:
            question = questions.get(response.request or "") or _question_of(response.outcome, questions)
            if question is None:
                reasons.append(response.outcome.reason if isinstance(response.outcome, Trouble) else "unknown items")
                continue
            found = read_reply(response.outcome, question) if isinstance(response.outcome, Reply) else response.outcome
            self._keep(job, question, response.outcome, found)
            if isinstance(found, Trouble):
                reasons.append(found.reason)
            else:
                read += 1
                advance(len(found))
        self._close(job)
        if not read:
            raise self._client.service.fatal(
                f"batch job {job.name} has no usable answer: {reasons[0] if reasons else 'it is empty'}"
            )
        if reasons:
            self._progress.warn(f"{len(reasons)} requests of a batch job are asked again one by one: {reasons[0]}")

    def _keep(
        self, job: Job, question: Question, outcome: Reply | Trouble, found: list[tuple[str, Answer]] | Trouble
    ) -> None:
        """Write a response and its cost into the ledger; a second response to a request costs and changes nothing."""
        number, worst_cost, _ = job.requests[question.id]
        if not self._ledger.is_in_flight(self._terms.by, number):
            return
        price, usage = self._terms.price, outcome.usage
        unknown = worst_cost if isinstance(outcome, Reply) else 0.0
        cost = price.of(usage) if price and usage else unknown
        self._budget.exchange(worst_cost, cost)
        self._ledger.got(
            self._terms.by, number, usage, cost if price else None, found if isinstance(found, list) else ()
        )

    def _close(self, job: Job) -> None:
        """Nothing more is expected of a job: what was not answered was not billed."""
        for number, worst_cost, _ in job.requests.values():
            if self._ledger.is_in_flight(self._terms.by, number):
                self._budget.exchange(worst_cost, 0.0)
                self._ledger.got(self._terms.by, number, None, 0.0 if self._terms.price else None)
        self._ledger.job_done(self._terms.by, job.label)

    async def _persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """A call's result, after as many attempts as are allowed. Raises ServiceError."""
        attempt = 1
        while True:
            outcome = await call()
            if isinstance(outcome, ServiceError):
                raise outcome
            if not isinstance(outcome, Trouble):
                return outcome
            delay_s = self._patience.delay_s(attempt, hint_s=outcome.hint_s, request="batch job")
            if attempt >= self._terms.config.max_attempts or not self._patience.allows(delay_s):
                message = f"{attempt} attempts failed, the last one with: {outcome.reason}"
                error = self._client.service.fatal(message)
                # Perhaps it was submitted: the ledger keeps the label, and a resumed run looks for it.
                raise _Lost(error.what, where=error.where, fix=error.fix)
            await asyncio.sleep(delay_s)
            attempt += 1


class _Lost(ServiceError):
    """Nobody knows whether a job was submitted."""


@dataclass(frozen=True, slots=True)
class JobResponse:
    """One response of a job. request: the id in its metadata, None where the service left it out."""

    request: str | None
    outcome: Reply | Trouble


class BatchCalls:
    """The three calls: submit a job, look for it by label, look at it by name."""

    def __init__(self, client: GeminiClient) -> None:
        self._client = client
        self._tried: set[str] = set()

    async def submit_once(self, label: str, questions: Sequence[Question]) -> Any:
        """The name of the job, which a second call with the same label looks for before it submits again."""
        if label in self._tried:
            found = await self.find(label)
            if found != "":
                return found
        self._tried.add(label)
        return await self._client.called(self._submit(label, questions))

    async def find(self, label: str) -> Any:
        """The name of the job with this label; empty where there is none."""
        return await self._client.called(self._find(label))

    async def look(self, name: str) -> Any:
        """(state, reason, responses) of a job."""
        return await self._client.called(self._look(name))

    async def _submit(self, label: str, questions: Sequence[Question]) -> str | Trouble:
        from google.genai import types

        requests = [
            types.InlinedRequest(contents=each.text, metadata={"request": each.id}, config=self._client.settings)
            for each in questions
        ]
        job = await self._client.sdk.aio.batches.create(
            model=self._client.service.model,
            src=requests,
            config=types.CreateBatchJobConfig(display_name=label),
        )
        return job.name or Trouble("lost", "the batch job has no name")

    async def _find(self, label: str) -> str:
        async for job in await self._client.sdk.aio.batches.list():
            if job.display_name == label and job.name:
                return job.name
        return ""

    async def _look(self, name: str) -> tuple[str, str, list[JobResponse]]:
        job = await self._client.sdk.aio.batches.get(name=name)
        state = str(getattr(job.state, "value", job.state or "JOB_STATE_PENDING"))
        reason = self._client.service.redact(str(job.error.message or "")) if job.error else "no reason given"
        inlined = (job.dest.inlined_responses if job.dest else None) or []
        return state, short(reason), [self._response(each) for each in inlined]

    def _response(self, inlined: Any) -> JobResponse:
        request = (inlined.metadata or {}).get("request")
        if inlined.response is None:
            message = inlined.error.message if inlined.error else "no response"
            return JobResponse(request, Trouble("unusable", short(self._client.service.redact(f"{message}"))))
        return JobResponse(request, self._client.usable(inlined.response))


def _question_of(outcome: Reply | Trouble, questions: dict[str, Question]) -> Question | None:
    """The question that has one of the answered items: how a response without metadata is recognised."""
    if not isinstance(outcome, Reply):
        return None
    try:
        named = {entry["id"] for entry in json.loads(outcome.text)["answers"]}
    except (ValueError, TypeError, KeyError):
        return None
    return next(
        (each for each in questions.values() if any(item_id(item.candidate.gram) in named for item in each.batch)), None
    )


def _without(batches: Sequence[Sequence[Item]], keys: set[str]) -> list[list[Item]]:
    return [left for batch in batches if (left := [item for item in batch if item.key not in keys])]


def _cut(questions: Sequence[Question]) -> list[list[Question]]:
    """Questions in jobs of at most JOB_BYTES; one question is never too long for a job of its own."""
    jobs: list[list[Question]] = []
    size = JOB_BYTES
    for question in questions:
        if size + len(question.text) > JOB_BYTES:
            jobs.append([])
            size = 0
        jobs[-1].append(question)
        size += len(question.text) + 8000  # the system prompt and schema travel with each request
    return jobs
