"""The loop around a service: batches in flight, one layer of retries, and a ledger that makes a killed run cheap.

A batch whose answer is unusable (refused, wrong ids, a misjudged control item) is asked again once, then halved, down
to single grams; an answer that was too long is halved at once; a single gram that still gets no usable answer is
`unlabelled` with the reason. A batch whose attempts end while the service answers others is treated alike; where the
service answers nobody, not even about control items alone, the run ends. Nothing is matched by position.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hicra_cli.config.annotate_service import ServiceConfig
from hicra_cli.core.progress import Advance, Progress
from hicra_cli.grams.candidates import Candidate

from .budget import Budget
from .canaries import control_items, misjudged, mixed
from .client import Reply, ServiceClient, Trouble, short
from .ledger import Answer, Ledger
from .patience import Pace, Patience
from .prices import Price, Usage
from .prompt import RESPONSE_SCHEMA, SYSTEM_PROMPT, item_id, read_answers, render_items, tidy_reason

ASK_AGAIN = 2
HOPELESS = 20
PROBE_ITEMS = 4
WAIT_FOR_OTHERS_S = 0.05
# What a service adds to the bytes of system prompt, schema and items: roles, template, markers.
OVERHEAD_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate and the ledger's key of its answer."""

    key: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Question:
    """One request: the items as sent, with control items among them. id: the same in every run."""

    id: str
    batch: tuple[Item, ...]
    controls: tuple[Candidate, ...]
    text: str

    @property
    def item_ids(self) -> list[str]:
        """The ids an answer must name, each once."""
        grams = [each.candidate.gram for each in self.batch] + [each.gram for each in self.controls]
        return [item_id(gram) for gram in grams]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run asks. by: its account in the ledger. price: None where unknown. max_output_tokens: of one answer."""

    by: str
    config: ServiceConfig
    seed: int
    price: Price | None
    max_output_tokens: int

    def question(self, batch: Sequence[Item], *, control_count: int | None = None) -> Question:
        """The request about a batch; an empty batch asks about control items only."""
        request = batch[0].key if batch else "probe"
        count = self.config.canaries if control_count is None else control_count
        grams = [each.candidate for each in batch]
        controls = control_items(count, {each.gram for each in grams}, seed=self.seed, request=request)
        items = mixed(grams, controls, seed=self.seed, request=request)
        return Question(request, tuple(batch), tuple(controls), render_items(items))

    def worst_cost(self, question: Question) -> float:
        """US dollars at most: every byte of the prompt a token, the longest answer; 0 where the price is unknown."""
        if self.price is None:
            return 0.0
        inputs = len(SYSTEM_PROMPT.encode()) + len(str(RESPONSE_SCHEMA)) + len(question.text) + OVERHEAD_TOKENS
        return self.price.of(Usage(inputs, self.max_output_tokens))


def read_reply(reply: Reply, question: Question) -> list[tuple[str, Answer]] | Trouble:
    """The answers of a batch, or why the whole reply cannot be used."""
    entries = read_answers(reply.text, question.item_ids)
    reason = entries if isinstance(entries, str) else misjudged(question.controls, entries)
    if isinstance(entries, str) or reason is not None:
        return Trouble("unusable", reason or "")
    return [
        (item.key, Answer(entry.move, entry.confidence, tidy_reason(entry.reason), reply.model))
        for item in question.batch
        for entry in [entries[item_id(item.candidate.gram)]]
    ]


class Asking:
    """The state of one run. Grams given up wait in `_unlabelled` until an answer shows that the service works."""

    def __init__(
        self,
        terms: Terms,
        client: ServiceClient,
        ledger: Ledger,
        patience: Patience,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self._terms = terms
        self._client = client
        self._ledger = ledger
        self._patience = patience
        self._pace = Pace(terms.config.requests_per_minute)
        self._budget = budget
        self._progress = progress
        self._advance: Advance = _ignore
        self._unlabelled: list[tuple[str, Answer]] = []
        self._replies = 0
        self._models: set[str] = {answer.model for answer in ledger.known.values() if answer.move}

    async def settle_all(self, batches: Sequence[Sequence[Item]], advance: Advance) -> None:
        """Every item has an answer in the ledger afterwards. The first failure for good stops all requests."""
        self._advance = advance
        waiting = deque(list(batch) for batch in batches)
        count = sum(map(len, waiting))
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(self._terms.config.concurrency)]
        try:
            await asyncio.gather(*workers)
            self._keep_unlabelled(count)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def note_model(self, model: str) -> None:
        """Say so when another model answers than before: its judgements may differ."""
        if self._models and model not in self._models:
            known = ", ".join(sorted(self._models))
            self._progress.warn(f"the answers now come from {model}, earlier ones from {known}: labels may differ")
        self._models.add(model)

    async def _work(self, waiting: deque[list[Item]]) -> None:
        while waiting:
            await self._settle(waiting.popleft())

    async def _settle(self, batch: list[Item]) -> None:
        """Ask for a batch, ask again, halve it; a single gram without a usable answer stays unlabelled."""
        reason = ""
        for _ in range(ASK_AGAIN):
            trouble = await self._ask(self._terms.question(batch))
            if trouble is None:
                return
            reason = trouble.reason
            if trouble.kind != "unusable":
                break
        if len(batch) == 1:
            await self._give_up(batch[0], reason)
            return
        middle = len(batch) // 2
        await self._settle(batch[:middle])
        await self._settle(batch[middle:])

    async def _ask(self, question: Question) -> Trouble | None:
        """Keep the answers to a question, or say why there are none. Raises ServiceError when all hope ends."""
        replies = self._replies
        trouble = await self._persist(question)
        if trouble is None or trouble.kind in ("unusable", "cut"):
            return trouble
        if self._replies == replies:
            probe = await self._persist(self._probe())
            if probe is not None and probe.kind not in ("unusable", "cut"):
                raise self._client.service.fatal(f"{trouble.reason}; control items alone: {probe.reason}")
        return trouble

    async def _persist(self, question: Question) -> Trouble | None:
        """Attempts until there is a reply, the attempts end, or the budget of waiting does (ServiceError).

        Being told to slow down is no failed attempt: smaller batches would only mean more requests.
        """
        attempt, failed = 1, 0
        while True:
            trouble = await self._attempt(question)
            if trouble is None or trouble.kind in ("unusable", "cut"):
                self._replies += 1
                return trouble
            failed += trouble.kind != "limited"
            if failed >= self._terms.config.max_attempts:
                return Trouble("failed", f"{failed} attempts failed, the last one with: {trouble.reason}")
            await self._wait(attempt, trouble, question)
            attempt += 1

    async def _wait(self, attempt: int, trouble: Trouble, question: Question) -> None:
        delay_s = self._patience.delay_s(attempt, hint_s=trouble.hint_s, request=question.id)
        if not self._patience.allows(delay_s):
            raise self._client.service.fatal(
                f"waiting {delay_s:.0f} s more would exceed annotate.service.retry_budget_s "
                f"({self._terms.config.retry_budget_s:g} s): {trouble.reason}"
            )
        if trouble.kind == "limited":
            self._patience.hold_all(delay_s)
        else:
            await asyncio.sleep(delay_s)

    async def _attempt(self, question: Question) -> Trouble | None:
        """Send once, settle what it cost, and keep what was answered in the same line of the ledger."""
        terms = self._terms
        worst_cost = terms.worst_cost(question)
        while not self._budget.reserve(worst_cost):
            await asyncio.sleep(WAIT_FOR_OTHERS_S)
        charge = worst_cost  # until it is known what was billed: also when the run is stopped in flight
        try:
            await self._pace.turn()
            await self._patience.ready()
            number = self._ledger.sent(terms.by, worst_cost)
            outcome = await self._client.ask(question.text)
            usage = None if isinstance(outcome, Exception) else getattr(outcome, "usage", None)
            cost = self._cost(outcome, usage, worst_cost)
            charge = worst_cost if cost is None and terms.price else cost or 0.0
            found = read_reply(outcome, question) if isinstance(outcome, Reply) else outcome
            if isinstance(found, list):
                self._keep(number, usage, cost, found, outcome)
                return None
            self._ledger.got(terms.by, number, usage, cost)
        finally:
            self._budget.settle(worst_cost, charge)
        if isinstance(found, Exception):
            raise found
        return Trouble(found.kind, short(found.reason), found.hint_s)

    def _cost(self, outcome: object, usage: Usage | None, worst_cost: float) -> float | None:
        """US dollars: by the service's count, nothing where it refused, None where nobody knows."""
        if self._terms.price is None:
            return None
        if usage is not None:
            return self._terms.price.of(usage)
        if isinstance(outcome, Reply):
            return worst_cost
        return None if isinstance(outcome, Trouble) and outcome.kind == "lost" else 0.0

    def _keep(
        self, number: int, usage: Usage | None, cost: float | None, answers: list[tuple[str, Answer]], outcome: object
    ) -> None:
        if isinstance(outcome, Reply):
            self.note_model(outcome.model)
        if answers:  # a probe shows that the service works, but not that it can judge grams
            answers = [*self._unlabelled, *answers]
            self._advance(len(answers) - len(self._unlabelled))
            self._unlabelled = []
        self._ledger.got(self._terms.by, number, usage, cost, answers)

    async def _give_up(self, item: Item, reason: str) -> None:
        """Leave a gram unlabelled; many in a row must be the grams' fault, or the run ends."""
        self._unlabelled.append((item.key, Answer("", 0.0, reason, self._client.service.model)))
        self._advance(1, status=f"unlabelled: {reason}")
        if len(self._unlabelled) < HOPELESS:
            return
        if await self._persist(self._probe()) is not None:
            raise self._client.service.fatal(f"{HOPELESS} grams in a row got no usable answer, the last one: {reason}")
        self._keep_waiting()

    def _probe(self) -> Question:
        return self._terms.question([], control_count=PROBE_ITEMS)

    def _keep_waiting(self) -> None:
        self._ledger.keep(self._terms.by, self._unlabelled)
        self._unlabelled = []

    def _keep_unlabelled(self, count: int) -> None:
        """At the end: what stayed unlabelled is kept, unless nothing at all was labelled."""
        if self._unlabelled and len(self._unlabelled) == count:
            raise self._client.service.fatal(
                f"none of {count} grams got a usable answer: {self._unlabelled[-1][1].reason}"
            )
        if self._unlabelled:
            self._keep_waiting()


def _ignore(count: int = 1, *, status: str = "") -> None:
    return None
