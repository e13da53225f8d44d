"""Time and memory of the update's head: the fused head against log-softmax over full logits, and against one that
computes its logits again.

    python -m tests.benchmarks.bench_head --threads 1 --tokens 512

Both benchmark vocabularies at hidden size 128. Every side computes log-probs, entropies, the loss and both gradients of
the same tokens; sides take turns, and what counts is CPU seconds, so that other load on the machine matters little.
`recomputed` is the same code in the form that objectives of whole sequences take. `products` is the three matrix
products of the fused head and nothing else: what no arrangement of the rest can fall below. Peak memory is that of a
process of its own for each side, over what it held before.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from hicra_cli.core.resident import peak_resident_bytes
from hicra_cli.rl.head import token_losses, token_statistics
from hicra_cli.rl.objective import Objective, TokenTerms
from tests.benchmarks.random_models import SHAPES

LINEAR = Objective(lambda logprobs, entropy, terms: -terms.advantages * logprobs, by_token=True, with_entropy=False)
Problem = tuple[Tensor, Tensor, Tensor, TokenTerms]


def problem(name: str, tokens: int) -> Problem:
    """hidden (N, 128) as a final norm leaves it, weight (V, 128), targets, and an advantage for every token."""
    generator = torch.Generator().manual_seed(0)
    shape = SHAPES[name]
    hidden = torch.randn(tokens, shape.hidden, generator=generator)
    weight = torch.randn(shape.vocabulary, shape.hidden, generator=generator).mul_(0.02)
    targets = torch.randint(shape.vocabulary, (tokens,), generator=generator)
    zeros = torch.zeros(tokens)
    terms = TokenTerms(torch.randn(tokens, generator=generator), zeros, zeros, None, None, torch.tensor([tokens]))
    return hidden.requires_grad_(), weight.requires_grad_(), targets, terms


def fused(hidden: Tensor, weight: Tensor, targets: Tensor, terms: TokenTerms) -> None:
    token_losses(hidden, weight, targets, LINEAR, terms).loss.backward()


def recomputed(hidden: Tensor, weight: Tensor, targets: Tensor, terms: TokenTerms) -> None:
    LINEAR.losses(*token_statistics(hidden, weight, targets), terms).sum().backward()


def full(hidden: Tensor, weight: Tensor, targets: Tensor, terms: TokenTerms) -> None:
    log_p = torch.log_softmax(hidden @ weight.T, dim=-1)
    with torch.no_grad():
        entropy = -(log_p.exp() * log_p).sum(-1)
    LINEAR.losses(log_p.gather(1, targets[:, None]).squeeze(1), entropy, terms).sum().backward()


def products(hidden: Tensor, weight: Tensor, targets: Tensor, terms: TokenTerms) -> None:
    with torch.no_grad():
        logits = torch.empty(256, len(weight))
        for start in range(0, len(hidden), 256):
            part = hidden[start : start + 256]
            tile = torch.mm(part, weight.T, out=logits[: len(part)])
            tile @ weight, tile.T @ part


SIDES: dict[str, Callable[..., None]] = {
    "fused": fused, "recomputed": recomputed, "full": full, "products": products,
}  # fmt: skip


def cpu_seconds(side: str, inputs: Problem) -> float:
    hidden, weight = inputs[:2]
    hidden.grad = weight.grad = None
    before = time.process_time()
    SIDES[side](*inputs)
    return time.process_time() - before


def peak_bytes(side: str, name: str, tokens: int) -> int:
    """Growth of the resident peak of a process that runs one side once."""
    code = f"from tests.benchmarks import bench_head as b; b.print_peak({side!r}, {name!r}, {tokens})"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(answer.stdout)


def print_peak(side: str, name: str, tokens: int) -> None:
    torch.set_num_threads(1)
    SIDES[side](*problem("nano", 64))  # libraries set up
    inputs = problem(name, tokens)
    before = peak_resident_bytes()
    SIDES[side](*inputs)
    print(peak_resident_bytes() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512, help="of a micro-batch")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in SHAPES:
        inputs = problem(name, arguments.tokens)
        for side in SIDES:
            cpu_seconds(side, inputs)
        rounds = [{side: cpu_seconds(side, inputs) for side in SIDES} for _ in range(arguments.repeats)]
        ratios = {side: [each[side] / each["fused"] for each in rounds] for side in SIDES if side != "fused"}
        result = {
            "model": name,
            "threads": arguments.threads,
            "fused_cpu_s": round(statistics.median(each["fused"] for each in rounds), 4),
            **{
                f"{side}_over_fused": [round(pick(values), 2) for pick in (min, statistics.median, max)]
                for side, values in ratios.items()
            },
            "peak_mib": {
                side: round(peak_bytes(side, name, arguments.tokens) / 2**20)
                for side in ("fused", "recomputed", "full")
            },
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
