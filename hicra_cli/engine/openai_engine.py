"""Sampling from a server that speaks OpenAI's completions API, such as vLLM's own, for evaluation.

The prompt stays ours: its rendered token ids are sent, or their text, and where the server tells what it read, that is
held against them. Each sample is a request of its own with a seed of its own (the low 31 bits of the one that is
recorded), so what is drawn depends on (seed, purpose, step, prompt, sample) and on how the server rounds in a batch.

Everything that decides a response is said in the request: a vLLM server otherwise takes top-k, top-p, a repetition
penalty and more from the model's generation_config.json. The policy's folder gives tokenizer and context length; it
needs no weights. Entropies are not known, log-probs only where they are asked for (else NaN).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from torch import Tensor, nn

from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import ConfigError, EngineError
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.core.seeds import seed_for
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.completion_server import CompletionServer, Wish, sends_key_in_the_clear
from hicra_cli.engine.completions import Completion
from hicra_cli.engine.policy import load_tokenizer, read_context, read_stop_ids
from hicra_cli.engine.requests import check_prompt, decode_response
from hicra_cli.grams.annotators.loops import run_to_end
from hicra_cli.grams.annotators.patience import Patience

Place = tuple[int, int]
"""Index of the request, number of the sample."""

_NO_WEIGHTS = "the engine openai cannot take new weights: the server's model is its own"
_OTHER_ENGINE = "Use `--set engine.name=transformers` or `vllm`."


class OpenAIEngine:
    """An `Engine` without weights over the server of `config`; `path` is the folder of the served model's tokenizer.

    Raises ConfigError where no model is named, ServiceError where the server fails for good, EngineError where it reads
    or writes other tokens than the tokenizer does. first_backoff_s: pause before a second attempt; later ones double.
    """

    name = "openai"

    def __init__(self, path: Path, config: EngineConfig, *, first_backoff_s: float = 1.0) -> None:
        self.version = 0
        self._config = config
        self._first_backoff_s = first_backoff_s
        self._tokenizer = load_tokenizer(path)
        self._stop_ids = read_stop_ids(path, self._tokenizer)
        self._context = min(read_context(path), config.max_model_len or 1 << 30)
        self._left_out: set[str] = set()
        self._checked = False
        self._guessed = self._cut_early = 0

    @property
    def remarks(self) -> list[str]:
        """What a reader of the responses so far must know."""
        found = []
        if self._guessed:
            found.append(
                f"the server told no token ids of {self._guessed} responses: they are those of the text, encoded anew"
            )
        if self._cut_early:
            found.append(
                f"the server cut {self._cut_early} responses before the limit that was asked for: it has one of its own"
            )
        if self._left_out:
            found.append(f"the server does not know {', '.join(sorted(self._left_out))}; its own values hold")
        if sends_key_in_the_clear(self._config):
            found.append(f"the key travels unencrypted to {self._config.base_url}; use https:// where you can")
        return found

    def generate(
        self,
        requests: Sequence[Request],
        sampling: SamplingConfig,
        draws: Draws,
        *,
        on_rollout: Callable[[Rollout], None] | None = None,
        keep: bool = True,
    ) -> list[Rollout]:
        """Sample every request; see `Engine.generate`."""
        finished: dict[Place, Rollout] = {}

        def take(place: Place, rollout: Rollout) -> None:
            if on_rollout is not None:
                on_rollout(rollout)
            if keep:
                finished[place] = rollout

        run_to_end(self._sample_all(requests, sampling, draws, take))
        if not keep:
            return []
        return [finished[index, sample] for index, request in enumerate(requests) for sample in request.samples]

    def update_weights(self, model: nn.Module, *, version: int) -> NoReturn:
        """Always an EngineError."""
        raise EngineError(_NO_WEIGHTS, where="engine.name", fix=_OTHER_ENGINE)

    def load_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> NoReturn:
        """Always an EngineError."""
        raise EngineError(_NO_WEIGHTS, where="engine.name", fix=_OTHER_ENGINE)

    def close(self) -> None:
        """Nothing is held between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _sample_all(
        self,
        requests: Sequence[Request],
        sampling: SamplingConfig,
        draws: Draws,
        take: Callable[[Place, Rollout], None],
    ) -> None:
        """`concurrency` workers share one queue; the first failure stops them all."""
        patience = Patience(
            budget_s=self._config.retry_budget_s, first_backoff_s=self._first_backoff_s, seed=draws.seed
        )
        async with CompletionServer(self._config, patience, self._left_out) as server:
            if not self._checked:
                await self._check(server)
            for request in requests:
                check_prompt(request, self._context)
            waiting = _places(requests)
            work = (self._work(server, waiting, sampling, draws, take) for _ in range(self._config.concurrency))
            workers = [asyncio.create_task(each) for each in work]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _check(self, server: CompletionServer) -> None:
        """Hold the model's name and context against what the server lists, before the first response is paid for."""
        listed = await server.models()
        names = ", ".join(sorted(each.name for each in listed or [])[:20])
        if self._config.model is None:
            raise ConfigError(
                "engine.model is not set: which of the server's models is to be asked?",
                where=self._config.base_url,
                fix=f"The server lists: {names or 'nothing'}",
            )
        served = [each for each in listed or [] if each.name == self._config.model]
        if listed and not served:
            raise server.fatal(f"it serves no model {self._config.model}; it lists: {names}")
        self._context = min([self._context, *(each.context for each in served if each.context is not None)])
        self._checked = True

    async def _work(
        self,
        server: CompletionServer,
        waiting: Iterator[tuple[Place, Request]],
        sampling: SamplingConfig,
        draws: Draws,
        take: Callable[[Place, Rollout], None],
    ) -> None:
        for place, request in waiting:
            wish = self._wish(request, place[1], sampling, draws)
            completion = await server.complete(wish)
            take(place, self._rollout(request, place[1], completion, wish))

    def _wish(self, request: Request, sample: int, sampling: SamplingConfig, draws: Draws) -> Wish:
        max_tokens = min(sampling.max_new_tokens, self._context - len(request.token_ids))
        seed = seed_for(draws.seed, draws.purpose, step=draws.step, prompt=request.prompt.id, sample=sample)
        required = {
            "model": self._config.model,
            "prompt": self._prompt(request),
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            # Servers keep seeds in 32 or 64 bits, signed or not.
            "seed": seed & 0x7FFFFFFF,
            "n": 1,
            "stream": False,
        }
        optional = {
            # Off, whatever the model's generation config recommends.
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": list(self._stop_ids),
            # The prompt has its begin-of-text token already.
            "add_special_tokens": False,
            "skip_special_tokens": True,
            "return_token_ids": True,
        }
        if sampling.top_k:
            del optional["top_k"]
            required["top_k"] = sampling.top_k
        if self._config.logprobs:
            required["logprobs"] = 0
        return Wish(f"{request.prompt.id} {sample}", required, optional, max_tokens)

    def _prompt(self, request: Request) -> list[int] | str:
        token_ids = request.token_ids.tolist()
        if self._config.prompt_as == "tokens":
            return [*token_ids]
        text = str(self._tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if self._tokenizer(text, add_special_tokens=False)["input_ids"] != token_ids:
            raise EngineError(
                f"the tokens of prompt {request.prompt.id!r} are not those of its text, so it cannot be sent as text",
                fix="Use `--set engine.prompt_as=tokens`.",
            )
        return text

    def _rollout(self, request: Request, sample: int, completion: Completion, wish: Wish) -> Rollout:
        self._check_prompt_read(request, completion)
        token_ids, text = completion.token_ids, completion.text
        if token_ids is not None:
            text = self._checked_text(request, token_ids, text)
        else:
            self._guessed += 1
            token_ids = self._encoded(text, stopped=completion.stopped)
        if not completion.stopped and completion.num_tokens is not None and completion.num_tokens < wish.max_tokens:
            self._cut_early += 1
        logprobs = completion.logprobs
        return Rollout(
            prompt=request.prompt,
            sample=sample,
            prompt_token_ids=request.token_ids,
            token_ids=token_ids,
            text=text,
            finish_reason=FinishReason.STOP if completion.stopped else FinishReason.LENGTH,
            sampler_logprobs=np.full(len(token_ids), np.nan, np.float32) if logprobs is None else logprobs,
        )

    def _check_prompt_read(self, request: Request, completion: Completion) -> None:
        read, sent = completion.prompt_token_ids, request.token_ids
        same = completion.prompt_tokens in (None, len(sent)) if read is None else np.array_equal(read, sent)
        if not same:
            count = completion.prompt_tokens if read is None else len(read)
            raise EngineError(
                f"prompt {request.prompt.id!r} has {len(sent)} tokens, but the server read {count} others",
                where=self._config.base_url,
                fix="Give the served model's own folder as the policy"
                + ("." if self._config.prompt_as == "tokens" else ", or use `--set engine.prompt_as=tokens`."),
            )

    def _checked_text(self, request: Request, token_ids: Any, text: str) -> str:
        """The response's text as every engine decodes it. EngineError where the server's tokenizer is another one."""
        decoded = decode_response(self._tokenizer, token_ids) if token_ids.max(initial=0) < len(self._tokenizer) else ""
        # vLLM leaves the stop token out of the text, also where it is an ordinary one.
        shorter = decode_response(self._tokenizer, token_ids[:-1]) if decoded else ""
        if _letters(text) not in (_letters(decoded), _letters(shorter)):
            raise EngineError(
                f"the response to prompt {request.prompt.id!r} reads {text[:80]!r} on the server, but its tokens are "
                f"{decoded[:80]!r} to the policy's tokenizer",
                where=self._config.base_url,
                fix="Give the served model's own folder as the policy.",
            )
        return decoded

    def _encoded(self, text: str, *, stopped: bool) -> Any:
        token_ids = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        if stopped and self._tokenizer.eos_token_id is not None:
            token_ids.append(self._tokenizer.eos_token_id)
        return np.asarray(token_ids, dtype=np.int32)


def _places(requests: Sequence[Request]) -> Iterator[tuple[Place, Request]]:
    for index, request in enumerate(requests):
        for sample in request.samples:
            yield (index, sample), request


def _letters(text: str) -> str:
    """What two decoders must agree on: they differ in blanks, and in what stands for half a character."""
    return "".join(text.replace("\N{REPLACEMENT CHARACTER}", "").split())
