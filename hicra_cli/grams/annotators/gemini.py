"""Gemini as annotator: batches in flight, one retry loop, and a ledger that makes a killed run cheap to repeat.

A batch whose answer is unusable (cut, refused, wrong ids) is asked again once, then halved, down to single grams; a
single gram that still gets no usable answer is `unlabelled` with the reason. Nothing is matched by position.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.keys import ServiceKey, service_key
from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import Advance, Progress
from hicra_cli.core.records import Move
from hicra_cli.grams.candidates import Candidate

from .base import Annotation
from .gemini_client import GeminiClient, Reply, short
from .gemini_prompt import PROMPT_VERSION, item_id, read_answers, render_items, tidy_reason
from .ledger import Answer, Ledger
from .patience import Patience

KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
ASK_AGAIN = 2
HOPELESS = 20


def gemini_key() -> ServiceKey:
    """The key from the environment. Raises ServiceError with what to do where there is none."""
    key = service_key(*KEY_VARIABLES)
    if key is None:
        raise ServiceError(
            f"the annotator gemini needs a key: neither {' nor '.join(KEY_VARIABLES)} is set",
            fix="Create one at https://aistudio.google.com/apikey and `export GEMINI_API_KEY=…`, "
            "or use `--annotator lexicon`, which needs no service",
        )
    if not (key.secret.isascii() and key.secret.isprintable()) or " " in key.secret:
        raise ServiceError(f"{key.variable} is no key: it holds blanks or characters that no key has")
    return key


class GeminiAnnotator:
    """Annotates through google-genai; answers already in the ledger at `ledger` are not asked again."""

    name = "gemini"

    def __init__(
        self, config: AnnotateConfig, *, key: ServiceKey, ledger: Path, seed: int, first_backoff_s: float = 1.0
    ) -> None:
        self._config = config
        self._key = key
        self._ledger_path = ledger
        self._seed = seed
        self._first_backoff_s = first_backoff_s

    def annotate(self, candidates: Sequence[Candidate], progress: Progress) -> Iterator[Annotation]:
        """One annotation per candidate, in order. Raises ServiceError where the service failed for good."""
        keys = [_ledger_key(self._config, each) for each in candidates]
        with Ledger(self._ledger_path) as ledger, progress.phase("annotate", len(candidates)) as advance:
            if ledger.torn_bytes:
                progress.warn(f"cut a torn line of {ledger.torn_bytes} bytes off the answers kept so far")
            run = _Run(self._config, self._key, ledger, self._patience(), advance)
            _run_to_end(run.settle_all(list(zip(keys, candidates, strict=True))))
            for key, candidate in zip(keys, candidates, strict=True):
                yield _annotation(candidate.gram, ledger.known[key])

    def _patience(self) -> Patience:
        return Patience(
            budget_s=self._config.service.retry_budget_s, first_backoff_s=self._first_backoff_s, seed=self._seed
        )


Item = tuple[str, Candidate]


class _Run:
    """The state of one call. Grams given up wait in `_unlabelled` until an answer shows that the service works."""

    def __init__(
        self, config: AnnotateConfig, key: ServiceKey, ledger: Ledger, patience: Patience, advance: Advance
    ) -> None:
        self._config = config
        self._key = key
        self._ledger = ledger
        self._patience = patience
        self._advance = advance
        self._unlabelled: list[tuple[str, Answer]] = []

    async def settle_all(self, items: list[Item]) -> None:
        """Every item has an answer in the ledger afterwards. The first failure for good stops all requests."""
        # Cut into batches before looking what is known: a resumed run sends the same batches as an unbroken one.
        size = self._config.service.batch_size
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        open_batches = deque(left for batch in batches if (left := self._open(batch)))
        self._advance(len(items) - sum(map(len, open_batches)))
        if not open_batches:
            return
        async with GeminiClient(self._config, self._key) as client:
            workers = [
                asyncio.create_task(self._work(client, open_batches))
                for _ in range(min(self._config.service.concurrency, len(open_batches)))
            ]
            try:
                await asyncio.gather(*workers)
                self._keep_unlabelled(client, len(items))
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def _open(self, batch: list[Item]) -> list[Item]:
        return [item for item in batch if item[0] not in self._ledger.known]

    async def _work(self, client: GeminiClient, batches: deque[list[Item]]) -> None:
        while batches:
            await self._settle(client, batches.popleft())

    async def _settle(self, client: GeminiClient, batch: list[Item]) -> None:
        """Ask for a batch, ask again, halve it; a single gram without a usable answer stays unlabelled."""
        reason = ""
        for _ in range(ASK_AGAIN):
            reply = await self._reply(client, batch)
            found = self._read(reply, batch) if isinstance(reply, Reply) else reply
            if not isinstance(found, str):
                self._keep(found)
                return
            reason = found
        if len(batch) == 1:
            self._give_up(client, batch[0], reason)
            return
        middle = len(batch) // 2
        await self._settle(client, batch[:middle])
        await self._settle(client, batch[middle:])

    async def _reply(self, client: GeminiClient, batch: list[Item]) -> Reply | str:
        """The service's complete answer, or why it cannot be used. Raises ServiceError when attempts or budget end."""
        items = render_items([candidate for _, candidate in batch])
        attempt = 1
        while True:
            await self._patience.ready()
            outcome = await client.ask(items)
            if isinstance(outcome, Reply):
                return outcome
            if outcome.kind == "unusable":
                return short(outcome.reason)
            if attempt >= self._config.service.max_attempts:
                raise client.fatal(f"{attempt} attempts failed, the last one with: {outcome.reason}")
            delay_s = self._patience.delay_s(attempt, hint_s=outcome.hint_s, request=batch[0][0])
            if not self._patience.allows(delay_s):
                raise client.fatal(
                    f"waiting {delay_s:.0f} s more would exceed annotate.service.retry_budget_s "
                    f"({self._config.service.retry_budget_s:g} s): {outcome.reason}"
                )
            if outcome.kind == "limited":
                self._patience.hold_all(delay_s)
            else:
                await asyncio.sleep(delay_s)
            attempt += 1

    def _read(self, reply: Reply, batch: list[Item]) -> list[tuple[str, Answer]] | str:
        ids = [item_id(candidate.gram) for _, candidate in batch]
        entries = read_answers(reply.text, ids)
        if isinstance(entries, str):
            return entries
        return [
            (key, Answer(entry.move, entry.confidence, tidy_reason(entry.reason), reply.model))
            for (key, _), entry in zip(batch, (entries[each] for each in ids), strict=True)
        ]

    def _keep(self, answers: list[tuple[str, Answer]]) -> None:
        self._ledger.add([*self._unlabelled, *answers])
        self._unlabelled = []
        self._advance(len(answers))

    def _give_up(self, client: GeminiClient, item: Item, reason: str) -> None:
        self._unlabelled.append((item[0], Answer("", 0.0, reason, self._config.gemini.model)))
        if len(self._unlabelled) >= HOPELESS:
            raise client.fatal(f"{HOPELESS} grams in a row got no usable answer, the last one: {reason}")
        self._advance(1, status=f"unlabelled: {reason}")

    def _keep_unlabelled(self, client: GeminiClient, num_items: int) -> None:
        """At the end: what stayed unlabelled is kept, unless nothing at all was labelled."""
        if self._unlabelled and len(self._unlabelled) == num_items:
            raise client.fatal(f"none of {num_items} grams got a usable answer: {self._unlabelled[-1][1].reason}")
        if self._unlabelled:
            self._keep([])


def _ledger_key(config: AnnotateConfig, candidate: Candidate) -> str:
    """Names everything an answer depends on: model, prompt, temperature, endpoint, the gram and its contexts."""
    parts = [
        config.gemini.model,
        PROMPT_VERSION,
        config.service.temperature,
        config.gemini.base_url,
        candidate.gram,
        candidate.contexts,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _annotation(gram: str, answer: Answer) -> Annotation:
    return Annotation(
        gram=gram,
        move=Move(answer.move) if answer.move not in ("", "none") else None,
        confidence=answer.confidence,
        reason=answer.reason,
        annotator=GeminiAnnotator.name,
        model=answer.model,
        prompt_version=PROMPT_VERSION,
        labelled=answer.move != "",
    )


def _run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine from plain code, also where an event loop is already running (a notebook)."""
    if not _loop_is_running():
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
