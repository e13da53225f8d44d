"""Tokens per second of planning masks on real rollouts, as ratios to other ways of finding grams in token ids.

    python -m tests.benchmarks.bench_matcher FILE.jsonl.gz [FILE ...] [--tokenizer tokenizer.json]

For each file, on the CPU time of one core, the fastest of several runs:

- masks with 1,000 and 10,000 grams, the most frequent ones of 3 to 5 words in the file, which is the hardest choice,
  and with 1,000 of them and 9,000 of the next file, which adds grams but hardly any occurrence (needs two files);
  `first` is the first pass of a new matcher, which reads every distinct run of tokens for the first time;
- peers on a sample of the same rollouts with the same grams: `windows` encodes each gram alone and compares windows of
  ids, `4 windows` does so with and without a blank before and a capital, `regex per gram` decodes the ids, searches for
  each gram and maps hits by tokenising the text again, `one regex` does so with one alternation of all grams. Planning
  tokens are printed too: a peer that is not exact is fast or slow at something else than the mask;
- the search alone, by numpy and by the libraries for the automaton, on the letters of the rollouts;
- one rollout of more and more tokens, joined from those of the file.

Without `--tokenizer` a byte-level BPE of 32,000 tokens is trained on the file.
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import daachorse
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hicra_cli.core.records import StrategicGram
from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.grams.automaton import Automaton
from hicra_cli.grams.mask_trie import GramTrie
from hicra_cli.text.words import segments

Mask = NDArray[np.bool_]
Ids = NDArray[np.int32]


def main() -> None:
    options = _options()
    read = {path: _texts(path, options.characters) for path in options.rollouts}
    frequent = {path: _frequent_grams(_words(texts), 20_000) for path, texts in read.items()}
    for number, (path, texts) in enumerate(read.items(), start=1):
        tokenizer = Tokenizer.from_file(str(options.tokenizer)) if options.tokenizer else _trained(texts)
        rollouts = [np.array(ids.ids, dtype=np.int32) for ids in tokenizer.encode_batch(texts)]
        num_tokens = sum(map(len, rollouts))
        print(f"{path.name}: {len(texts)} rollouts, {num_tokens} tokens, {sum(map(len, texts))} characters")
        words = _words(texts)
        ranked = frequent[path][:10_000]
        foreign = frequent[options.rollouts[number % len(read)]]
        few, many, mixed = (
            GramSet(tuple(map(StrategicGram, grams)))
            for grams in (ranked[:1_000], ranked, [*ranked[:1_000], *_without(foreign, ranked)][:10_000])
        )
        gram_sets = {"1,000 grams": few, "10,000 grams": many} | ({"10,000, mixed": mixed} if len(read) > 1 else {})
        fast = _masks(rollouts, gram_sets, tokenizer, options.repeats)
        _peers(rollouts[: options.sample], few, tokenizer, fast)
        _searches(words, {"1,000 grams": few, "10,000 grams": many}, options.repeats)
        _lengths(rollouts, PlanningMatcher(few, tokenizer), options.repeats)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rollouts", type=Path, nargs="+", help="JSONL, gzipped or not, with the field `response`")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; trained on the rollouts by default")
    parser.add_argument("--characters", type=int, default=6_000_000, help="read from each file")
    parser.add_argument("--sample", type=int, default=20, help="rollouts for the peers")
    parser.add_argument("--repeats", type=int, default=7, help="the fastest of so many runs counts")
    return parser.parse_args()


def _masks(
    rollouts: list[Ids], gram_sets: dict[str, GramSet], tokenizer: Tokenizer, repeats: int
) -> tuple[float, PlanningMatcher]:
    """Seconds a token with the first gram-set, and its matcher."""
    num_tokens = sum(map(len, rollouts))
    matchers, fastest = [], []
    for name, gram_set in gram_sets.items():
        building, matcher = _timed(partial(PlanningMatcher, gram_set, tokenizer))
        first, masks = _timed(partial(matcher.planning_masks, rollouts))
        seconds = _best(repeats, partial(matcher.planning_masks, rollouts))
        planning = sum(int(mask.sum()) for mask in masks)
        print(
            f"  {name:>15}: {num_tokens / seconds / 1e6:5.1f} M tokens/s, first {num_tokens / first / 1e6:.1f}, "
            f"built in {building:.2f} s, {planning / num_tokens:.1%} planning tokens"
        )
        matchers.append(matcher)
        fastest.append(seconds / num_tokens)
    for name, seconds in zip(list(gram_sets)[1:], fastest[1:], strict=True):
        print(f"  {name} take {seconds / fastest[0]:.2f} times the time of 1,000")
    return fastest[0], matchers[0]


def _peers(rollouts: list[Ids], gram_set: GramSet, tokenizer: Tokenizer, fast: tuple[float, PlanningMatcher]) -> None:
    seconds_per_token, matcher = fast
    ours = matcher.planning_masks(rollouts)
    num_tokens = sum(map(len, rollouts))
    ways: dict[str, Callable[[], list[Mask]]] = {
        "windows": lambda: _windows(rollouts, _encoded(gram_set, tokenizer, forms=1)),
        "4 windows": lambda: _windows(rollouts, _encoded(gram_set, tokenizer, forms=4)),
        "regex per gram": lambda: _regex(rollouts, [[gram.text] for gram in gram_set.grams], tokenizer),
        "one regex": lambda: _regex(rollouts, [[gram.text for gram in gram_set.grams]], tokenizer),
    }
    planning = sum(int(mask.sum()) for mask in ours)
    print(f"  peers on {len(rollouts)} rollouts, {num_tokens} tokens, {planning} of them planning tokens")
    for name, way in ways.items():
        seconds, masks = _timed(way)
        found = sum(int(mask.sum()) for mask in masks)
        shared = sum(int((mask & mine).sum()) for mask, mine in zip(masks, ours, strict=True))
        print(
            f"  {name:>15}: {num_tokens / seconds / 1e6:7.4f} M tokens/s, "
            f"{seconds / num_tokens / seconds_per_token:7.1f} times the time, {found} found, {shared} of them ours"
        )


def _searches(words: list[list[str]], gram_sets: dict[str, GramSet], repeats: int) -> None:
    """The search for all matches, overlapping ones too, by each library and by numpy."""
    row = [word for segment in words for word in (*segment, "")]
    for name, gram_set in gram_sets.items():
        sequences = [gram.words for gram in gram_set.grams]
        automaton = Automaton(sequences)
        letters = np.array([automaton.letters.get(word, 0) for word in row], dtype=automaton.dtype)
        numbers = {word: number for number, word in enumerate(automaton.letters, start=1)}
        numbered = np.array([numbers.get(word, 0) for word in row], dtype=np.int64)
        patterns = [
            np.array([automaton.letters[word] for word in sequence], automaton.dtype).tobytes()
            for sequence in sequences
        ]
        data = letters.tobytes()
        trie = GramTrie(sequences, numbers)
        ways: dict[str, Callable[[], Any]] = {"numpy": partial(trie.find, numbered)}
        library = daachorse.DoubleArrayAhoCorasick(patterns)
        ways["daachorse"] = partial(library.find_overlapping, data)
        try:
            import ahocorasick_rs
        except ImportError:
            pass
        else:
            other = ahocorasick_rs.BytesAhoCorasick(patterns)
            ways["ahocorasick-rs"] = partial(other.find_matches_as_indexes, data, overlapping=True)
        measured = {way: _best(repeats, search) for way, search in ways.items()}
        shown = ", ".join(f"{way} {seconds / len(row) * 1e9:.1f}" for way, seconds in measured.items())
        print(f"  {name:>15}: search alone, ns a word: {shown}")


def _lengths(rollouts: list[Ids], matcher: PlanningMatcher, repeats: int) -> None:
    joined = np.concatenate(rollouts)
    total = 1 << 19
    joined = np.resize(joined, total)
    for exponent in (8, 10, 12, 14, 16, 18, 19):
        cut = np.split(joined, total >> exponent)
        matcher.planning_masks(cut)
        seconds = _best(repeats, partial(matcher.planning_masks, cut))
        print(f"  rollouts of {1 << exponent:7} tokens: {seconds / total * 1e9:6.1f} ns a token")
    alone = np.split(joined, total >> 10)[:100]
    seconds = _best(repeats, lambda: [matcher.planning_mask(ids) for ids in alone])
    print(f"  one call for each rollout of 1024 tokens: {seconds / len(alone) / 1024 * 1e9:.1f} ns a token")


def _texts(path: Path, characters: int) -> list[str]:
    texts: list[str] = []
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            texts.append(json.loads(line)["response"])
            characters -= len(texts[-1])
            if characters < 0:
                break
    return texts


def _trained(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=32_000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _words(texts: list[str]) -> list[list[str]]:
    return [[word.normalised for word in segment] for text in texts for segment in segments(text)]


def _frequent_grams(words: list[list[str]], count: int) -> list[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for segment in words:
        for size in (3, 4, 5):
            counts.update(zip(*(segment[shift:] for shift in range(size)), strict=False))
    return [gram for gram, _ in counts.most_common(count)]


def _without(grams: list[tuple[str, ...]], others: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    known = set(others)
    return [gram for gram in grams if gram not in known]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _best(repeats: int, work: Callable[[], Any]) -> float:
    return min(_timed(work)[0] for _ in range(repeats))


def _encoded(gram_set: GramSet, tokenizer: Tokenizer, *, forms: int) -> list[NDArray[np.int64]]:
    texts = [gram.text for gram in gram_set.grams]
    written = [
        form for text in texts for form in (text, f" {text}", text.capitalize(), f" {text.capitalize()}")[:forms]
    ]
    return [np.array(tokenizer.encode(form).ids) for form in written]


def _windows(rollouts: list[Ids], patterns: list[NDArray[np.int64]]) -> list[Mask]:
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


def _regex(rollouts: list[Ids], alternatives: Sequence[list[str]], tokenizer: Tokenizer) -> list[Mask]:
    patterns = [
        re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(phrases, key=len, reverse=True)))})\b", re.IGNORECASE)
        for phrases in alternatives
    ]
    masks = []
    for ids in rollouts:
        text = tokenizer.decode(ids.tolist())
        offsets = np.array(tokenizer.encode(text).offsets).reshape(-1, 2)
        mask = np.zeros(len(offsets), dtype=bool)
        for pattern in patterns:
            for found in pattern.finditer(text):
                mask |= (offsets[:, 0] < found.end()) & (offsets[:, 1] > found.start())
        masks.append(np.resize(mask, len(ids)))  # another tokenisation may have another length
    return masks


if __name__ == "__main__":
    main()
