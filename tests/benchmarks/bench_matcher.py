"""Tokens per second of planning masks on real rollouts, as a ratio to two ways of doing it without a byte table.

    python -m tests.benchmarks.bench_matcher --rollouts FILE.jsonl.gz [--tokenizer tokenizer.json] [--grams 500]

Peers, on the same ids and grams in the same run: `windows` encodes each gram alone and compares windows of ids;
`4 windows` does so for each gram with and without a blank before and a capital; `regex` decodes the ids, searches one
alternation of all grams and maps hits by tokenising the text again. Grams are the most frequent ones of 3 to 5 words in
the file. Without `--tokenizer` a byte-level BPE of 32,000 tokens is trained on it. The planning tokens that each finds
are printed too: a peer that is not exact is fast or slow at something else than the mask.
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hicra_cli.core.records import StrategicGram
from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.text.words import segments

Mask = NDArray[np.bool_]


def main() -> None:
    options = _options()
    texts = _texts(options.rollouts, options.limit)
    tokenizer = Tokenizer.from_file(str(options.tokenizer)) if options.tokenizer else _trained(texts)
    gram_set = _frequent_grams(texts, options.grams)
    rollouts = [np.array(ids.ids, dtype=np.int32) for ids in tokenizer.encode_batch(texts)]
    num_tokens = sum(map(len, rollouts))
    print(f"{len(texts)} rollouts, {num_tokens} tokens, {sum(map(len, texts))} characters, {len(gram_set)} grams")
    started = time.perf_counter()
    matcher = PlanningMatcher(gram_set, tokenizer)
    print(f"building the matcher, vocabulary {tokenizer.get_vocab_size()}: {time.perf_counter() - started:.2f} s")

    ways: dict[str, Callable[[], list[Mask]]] = {
        "planning_masks": lambda: matcher.planning_masks(rollouts),
        "windows": lambda: _windows(rollouts, _encoded(gram_set, tokenizer, forms=1)),
        "4 windows": lambda: _windows(rollouts, _encoded(gram_set, tokenizer, forms=4)),
        "regex": lambda: _regex(rollouts, gram_set, tokenizer),
    }
    measured = {name: _best(options.repeats, way) for name, way in ways.items()}
    our_seconds, our_masks = measured["planning_masks"]
    for name, (seconds, masks) in measured.items():
        planning = sum(int(mask.sum()) for mask in masks)
        shared = sum(int((mask & ours).sum()) for mask, ours in zip(masks, our_masks, strict=True))
        print(
            f"{name:>15}: {num_tokens / seconds / 1e6:5.2f} M tokens/s, {seconds / our_seconds:6.2f} times the time, "
            f"{planning} planning tokens ({planning / num_tokens:.2%}), {shared} of them ours"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path, required=True, help="JSONL, gzipped or not, with the field `response`")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; trained on the rollouts by default")
    parser.add_argument("--grams", type=int, default=500)
    parser.add_argument("--limit", type=int, default=1000, help="rollouts read")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many runs counts")
    return parser.parse_args()


def _texts(path: Path, limit: int) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [json.loads(line)["response"] for _, line in zip(range(limit), lines, strict=False)]


def _trained(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=32_000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _frequent_grams(texts: list[str], count: int) -> GramSet:
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for segment in segments(text):
            words = [word.normalised for word in segment]
            for size in (3, 4, 5):
                counts.update(zip(*(words[shift:] for shift in range(size)), strict=False))
    return GramSet(tuple(StrategicGram(words) for words, _ in counts.most_common(count)))


def _best(repeats: int, work: Callable[[], list[Mask]]) -> tuple[float, list[Mask]]:
    fastest = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        masks = work()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest, masks


def _encoded(gram_set: GramSet, tokenizer: Tokenizer, *, forms: int) -> list[NDArray[np.int64]]:
    texts = [gram.text for gram in gram_set.grams]
    written = [
        form for text in texts for form in (text, f" {text}", text.capitalize(), f" {text.capitalize()}")[:forms]
    ]
    return [np.array(tokenizer.encode(form).ids) for form in written]


def _windows(rollouts: list[NDArray[np.int32]], patterns: list[NDArray[np.int64]]) -> list[Mask]:
    masks = []
    for ids in rollouts:
        mask = np.zeros(len(ids), dtype=bool)
        for pattern in patterns:
            if len(pattern) <= len(ids):
                windows = np.lib.stride_tricks.sliding_window_view(ids, len(pattern))
                for start in np.flatnonzero((windows == pattern).all(axis=1)):
                    mask[start : start + len(pattern)] = True
        masks.append(mask)
    return masks


def _regex(rollouts: list[NDArray[np.int32]], gram_set: GramSet, tokenizer: Tokenizer) -> list[Mask]:
    longest_first = sorted((gram.text for gram in gram_set.grams), key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
    masks = []
    for ids in rollouts:
        text = tokenizer.decode(ids.tolist())
        offsets = np.array(tokenizer.encode(text).offsets).reshape(-1, 2)
        mask = np.zeros(len(offsets), dtype=bool)
        for found in pattern.finditer(text):
            mask |= (offsets[:, 0] < found.end()) & (offsets[:, 1] > found.start())
        masks.append(np.resize(mask, len(ids)))  # another tokenisation may have another length
    return masks


if __name__ == "__main__":
    main()
