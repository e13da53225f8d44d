"""The annotators gemini and openai: one loop, two clients; what they will cost is told before and counted after."""

import hashlib
import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.keys import ServiceKey, service_key
from hicra_cli.core.errors import ConfigError, ServiceError, UsageError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Move
from hicra_cli.core.seeds import generator_for, seed_for
from hicra_cli.grams.candidates import Candidate

from .asking import Asking, Item, Terms
from .base import Annotation
from .budget import Budget, Spent
from .client import Service
from .gemini_batch import BatchJobs
from .gemini_client import DEFAULT_ADDRESS, GeminiClient
from .ledger import Answer, Ledger
from .loops import run_to_end
from .openai_client import OpenAIClient
from .patience import Patience
from .prices import BATCH_DISCOUNT, Usage, price_of
from .prompt import PROMPT_VERSION, RESPONSE_SCHEMA, SYSTEM_PROMPT

Name = Literal["gemini", "openai"]
KEY_VARIABLES: dict[Name, tuple[str, ...]] = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
}
TITLES: dict[Name, str] = {"gemini": "Gemini", "openai": "The OpenAI-compatible server"}
WHERE_KEYS: dict[Name, str] = {
    "gemini": "https://aistudio.google.com/apikey",
    "openai": "https://platform.openai.com/api-keys",
}
MODULES: dict[Name, str] = {"gemini": "google.genai", "openai": "openai"}

# A ceiling of cost needs a ceiling of tokens; models that think use up part of it before they answer.
LONGEST_ANSWER_TOKENS = 32_768
# For estimates: English and JSON have about four characters per token, an answer's entry about sixty tokens.
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_ENTRY = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """What annotating will take if nothing has to be asked twice.

    requests, input_tokens: of all votes together, control items included. output_tokens: without a model's thoughts,
    which are billed as output too. cost: US dollars, None where the price is unknown. first_prompt: all the text that
    the first request sends.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    first_prompt: str


def estimate(name: str, config: AnnotateConfig, candidates: Sequence[Candidate], *, votes: int) -> Estimate:
    """What the annotator will send and cost; annotators that ask no service send nothing. Needs no key."""
    if name not in ("gemini", "openai"):
        return Estimate(0, 0, 0, 0.0, "")
    asked: Name = "gemini" if name == "gemini" else "openai"
    service = _service(asked, config, key=None, seed=0, vote=0)
    terms = _terms(service, config, account=name, seed=0)
    if name == "gemini" and config.gemini.batch_api:
        terms = _discounted(terms)
    questions = [terms.question(batch) for batch in _batches(service, config, candidates, seed=0, vote=0)]
    fixed = len(SYSTEM_PROMPT) + len(json.dumps(RESPONSE_SCHEMA))
    inputs = votes * sum(math.ceil((fixed + len(each.text)) / CHARACTERS_PER_TOKEN) for each in questions)
    outputs = votes * sum(TOKENS_PER_ENTRY * len(each.item_ids) for each in questions)
    cost = terms.price.of(Usage(inputs, outputs)) if terms.price else None
    first = f"{SYSTEM_PROMPT}\n{questions[0].text}" if questions else ""
    return Estimate(votes * len(questions), inputs, outputs, cost, first)


def build_service(
    name: Name,
    config: AnnotateConfig,
    *,
    ledger: Path,
    seed: int,
    vote: int,
    budget: Budget,
    first_backoff_s: float = 1.0,
    poll_s: float = 30.0,
) -> "ServiceAnnotator":
    """The annotator `gemini` or `openai` for one vote.

    Vote 0 asks in the order of the candidates, any other in an order of its own. Raises ServiceError where the key is
    missing, UsageError where the package is, ConfigError where the model is, or the price for a ceiling of cost.
    """
    _require_package(name)
    service = _service(name, config, key=key_for(name, config), seed=seed, vote=vote)
    terms = _terms(service, config, account=f"{name}/{vote}", seed=seed)
    if budget.max_cost is not None and terms.price is None:
        raise ConfigError(
            f"the price of {service.model} at {service.shown_address} is not known, so --max-cost cannot be held",
            fix="Set annotate.service.input_price and annotate.service.output_price (0 for a server of your own)",
        )
    earlier = Ledger(ledger).spent(terms.by)
    budget.recall(f"{ledger}|{terms.by}", (earlier.cost or 0.0) + earlier.lost_cost)
    patience = Patience(budget_s=config.service.retry_budget_s, first_backoff_s=first_backoff_s, seed=seed)
    return ServiceAnnotator(
        service, terms, config, ledger=ledger, vote=vote, budget=budget, patience=patience, poll_s=poll_s
    )


class ServiceAnnotator:
    """Asks one service for one vote; answers already in the ledger are not asked, and not paid, again."""

    def __init__(
        self,
        service: Service,
        terms: Terms,
        config: AnnotateConfig,
        *,
        ledger: Path,
        vote: int,
        budget: Budget,
        patience: Patience,
        poll_s: float,
    ) -> None:
        self.name: str = service.name
        self.spent = Spent()
        self._service = service
        self._terms = terms
        self._config = config
        self._ledger_path = ledger
        self._vote = vote
        self._budget = budget
        self._patience = patience
        self._poll_s = poll_s

    def annotate(self, candidates: Sequence[Candidate], progress: Progress) -> Iterator[Annotation]:
        """One annotation per candidate, in order. Raises ServiceError where the service failed for good."""
        if self._service.sends_key_in_the_clear:
            progress.warn(f"the key travels unencrypted to {self._service.shown_address}; use https:// where you can")
        batches = _batches(self._service, self._config, candidates, seed=self._terms.seed, vote=self._vote)
        with Ledger(self._ledger_path) as ledger, progress.phase("annotate", len(candidates)) as advance:
            if ledger.torn_bytes:
                progress.warn(f"cut a torn line of {ledger.torn_bytes} bytes off the answers kept so far")
            # Batches are cut before looking what is known: a resumed run sends the same ones as an unbroken run.
            waiting = [left for batch in batches if (left := [item for item in batch if item.key not in ledger.known])]
            advance(len(candidates) - sum(map(len, waiting)))
            try:
                if waiting:
                    run_to_end(self._ask(waiting, ledger, progress, advance))
            finally:
                self.spent = ledger.spent(self._terms.by)
            keys = {item.candidate.gram: item.key for batch in batches for item in batch}
            for candidate in candidates:
                yield _annotation(self.name, candidate.gram, ledger.known[keys[candidate.gram]])

    async def _ask(self, waiting: list[list[Item]], ledger: Ledger, progress: Progress, advance: Any) -> None:
        client = GeminiClient(self._service) if self._service.name == "gemini" else OpenAIClient(self._service)
        tools = (client, ledger, self._patience, self._budget, progress)
        async with client:
            if isinstance(client, GeminiClient) and self._config.gemini.batch_api:
                terms = _discounted(self._terms)
                jobs = BatchJobs(terms, client, *tools[1:], poll_s=self._poll_s)
                waiting = await jobs.settle(waiting, advance)
            if waiting:
                await Asking(self._terms, *tools).settle_all(waiting, advance)


def _require_package(name: Name) -> None:
    try:
        found = importlib.util.find_spec(MODULES[name])
    except ModuleNotFoundError:  # `google` itself is missing
        found = None
    if found is None:
        raise UsageError(f"the annotator {name} needs the package {MODULES[name]}", fix=f"pip install 'hicra[{name}]'")


def key_for(name: Name, config: AnnotateConfig) -> ServiceKey | None:
    """The key from the environment; a server other than OpenAI's own may need none."""
    key = service_key(*KEY_VARIABLES[name])
    if key is None:
        if name == "openai" and urlsplit(config.openai.base_url).hostname != "api.openai.com":
            return None
        variables = " nor ".join(KEY_VARIABLES[name])
        missing = f"neither {variables} is set" if len(KEY_VARIABLES[name]) > 1 else f"{variables} is not set"
        raise ServiceError(
            f"the annotator {name} needs a key: {missing}",
            fix=f"Create one at {WHERE_KEYS[name]} and `export {KEY_VARIABLES[name][0]}=…`, "
            "or use `--annotator lexicon`, which needs no service",
        )
    if not (key.secret.isascii() and key.secret.isprintable()) or " " in key.secret:
        raise ServiceError(f"{key.variable} is no key: it holds blanks or characters that no key has")
    return key


def _service(name: Name, config: AnnotateConfig, *, key: ServiceKey | None, seed: int, vote: int) -> Service:
    section = config.gemini if name == "gemini" else config.openai
    if not section.model:
        raise ConfigError(
            "annotate.openai.model is not set: which model is to be asked?",
            fix="Name one that the server lists, for example `--set annotate.openai.model=gpt-5-mini`",
        )
    limit = config.service.max_output_tokens
    if limit is None and config.service.max_cost is not None:
        limit = LONGEST_ANSWER_TOKENS
    return Service(
        name=name,
        title=TITLES[name],
        model=section.model,
        address=section.base_url or DEFAULT_ADDRESS,
        key=key,
        temperature=config.service.temperature,
        timeout_s=config.service.timeout_s,
        seed=seed_for(seed, "annotate", step=vote) & 0x7FFFFFFF,
        max_output_tokens=limit,
    )


def _terms(service: Service, config: AnnotateConfig, *, account: str, seed: int) -> Terms:
    price = price_of(service.name, service.model, service.address, config.service)
    return Terms(account, config.service, seed, price, service.max_output_tokens or LONGEST_ANSWER_TOKENS)


def _discounted(terms: Terms) -> Terms:
    return replace(terms, price=terms.price.discounted(BATCH_DISCOUNT)) if terms.price else terms


def _batches(
    service: Service, config: AnnotateConfig, candidates: Sequence[Candidate], *, seed: int, vote: int
) -> list[list[Item]]:
    """The distinct grams in the order of the vote, cut into requests."""
    items = [Item(_ledger_key(service, each, vote), each) for each in {each.gram: each for each in candidates}.values()]
    if vote:
        order = generator_for(seed, "annotate order", step=vote).permutation(len(items))
        items = [items[int(index)] for index in order]
    size = config.service.batch_size
    return [items[start : start + size] for start in range(0, len(items), size)]


def _ledger_key(service: Service, candidate: Candidate, vote: int) -> str:
    """Names everything an answer depends on: service, model, prompt, sampling, the vote, the gram and its contexts."""
    asked = [service.name, service.model, service.address, PROMPT_VERSION, service.temperature, service.seed, vote]
    return hashlib.sha256(json.dumps([*asked, candidate.gram, candidate.contexts]).encode()).hexdigest()[:32]


def _annotation(name: str, gram: str, answer: Answer) -> Annotation:
    return Annotation(
        gram=gram,
        move=Move(answer.move) if answer.move not in ("", "none") else None,
        confidence=answer.confidence,
        reason=answer.reason,
        annotator=name,
        model=answer.model,
        prompt_version=PROMPT_VERSION,
        labelled=answer.move != "",
    )
