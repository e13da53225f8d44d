"""Contamination: which benchmark questions occur in training data, word for word, with other numbers, or nearly so.

The benchmarks are indexed, the training texts stream by once: memory depends on the benchmarks alone. A training text
and a question are a pair of the first kind that fits:

- exact: the same words, numbers and signs; case, LaTeX layout, punctuation and figures are ignored
- contained: the question stands word for word inside a longer text
- variant: the same words with other numbers or signs
- near: none of these, but alike
- variants and near pairs agree to `NEAR`: Jaccard of character 8-grams or word 5-grams; they are for a person to judge

Beside the pairs, a question has a common 13-gram where 13 words in a row, numbers among them, occur in at most
`STOCK_ROWS` distinct training texts: what more of them hold is a stock phrase (the rule of GPT-3, arXiv 2005.14165,
appendix C). A question with fewer words has one where it is exact or contained.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal, get_args

from hicra_cli.core.records import Prompt
from hicra_cli.tasks.overlap_index import GramIndex
from hicra_cli.text.question_words import QuestionWords, characters, grams, jaccard, question_words

Kind = Literal["exact", "contained", "variant", "near"]
KINDS: tuple[Kind, ...] = get_args(Kind)
METHOD = "words-1"
NEAR = 0.45
NGRAM = 13
STOCK_ROWS = 10
PAIRS_KEPT = 10
SHOWN_CHARACTERS = 2000

_WORDS = 5
_CHARACTERS = 8
_CONTAINED_WORDS = 8  # a shorter question stands in many a text by chance
_CANDIDATE = 0.2  # share of the smaller text's skeleton 5-grams from which a pair is looked at closely
_CANDIDATES = 64  # questions that a text is compared with, beside those that most of it or of them agrees with
_SURE = 0.9
_BATCH_TEXTS = 2048
_BATCH_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class TrainingText:
    """A training problem, where it stands, and its id where it has one."""

    place: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a training text of `kind`. similarity: the larger Jaccard. copies: how often the text occurs.

    question and training: ids, the latter "" where there is none. place: where the training text stands.
    """

    bench: str
    question: str
    training: str
    place: str
    kind: Kind
    similarity: float
    question_text: str
    training_text: str
    copies: int = 1


@dataclass(frozen=True, slots=True)
class BenchOverlap:
    """Questions of one benchmark. kinds: by the worst pair of each question.

    ngram: questions with a common 13-gram; ngram_half: of which at least half of the 13-grams are common.
    """

    questions: int
    kinds: Mapping[Kind, int]
    ngram: int
    ngram_half: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found in `texts` training texts. pairs: the worst first, at most PAIRS_KEPT for a question.

    empty: training texts without a word. found: pairs of each kind, also those that are not kept.
    """

    texts: int
    empty: int
    benches: Mapping[str, BenchOverlap]
    pairs: tuple[Pair, ...]
    found: Mapping[Kind, int] = field(default_factory=dict)

    @property
    def questions_found(self) -> int:
        """Questions that stand in the training data word for word."""
        return sum(each.kinds["exact"] + each.kinds["contained"] for each in self.benches.values())


def overlap_summary(overlap: Overlap) -> dict[str, Any]:
    """Rates by benchmark for a report or a summary file, with what a reader needs to repeat them."""
    return {
        "method": METHOD,
        "training_texts": overlap.texts,
        "near_threshold": NEAR,
        "bench": {
            name: {
                "questions": each.questions,
                **{kind: each.kinds[kind] for kind in KINDS},
                "common_13gram": each.ngram,
                "half_of_13grams": each.ngram_half,
                "found_fraction": (each.kinds["exact"] + each.kinds["contained"]) / each.questions,
            }
            for name, each in overlap.benches.items()
        },
    }


class OverlapCheck:
    """Compares any number of training texts with the questions of `benches` (name → prompts)."""

    def __init__(self, benches: Mapping[str, Sequence[Prompt]]) -> None:
        self._questions = [
            _Text(name, prompt.id, "", prompt.text) for name, prompts in benches.items() for prompt in prompts
        ]
        self._names = list(benches)
        words = [each.words for each in self._questions]
        self._near = GramIndex([each.skeleton for each in words], n=_WORDS)
        self._ngrams = GramIndex([each.plain for each in words], n=NGRAM)
        self._ngram_rows: dict[int, set[bytes]] = {}
        self._stock: set[int] = set()
        self._same: dict[tuple[str, ...], list[int]] = {}
        for number, each in enumerate(words):
            for same in {each.skeleton, each.exact} - {()}:
                self._same.setdefault(same, []).append(number)
        self._pairs: list[dict[bytes, Pair]] = [{} for _ in self._questions]
        self._found: Counter[Kind] = Counter()
        self._texts = self._empty = 0

    def read(self, texts: Iterable[TrainingText]) -> Iterator[int]:
        """Compare the texts; yields after each batch how many it had."""
        stream = iter(texts)
        while batch := list(_batch(stream)):
            self._compare([_Text("", each.id, each.place, each.text) for each in batch])
            self._texts += len(batch)
            yield len(batch)

    def result(self) -> Overlap:
        """What was found so far."""
        worst = [min((KINDS.index(pair.kind) for pair in pairs.values()), default=None) for pairs in self._pairs]
        common = self._common_ngrams(worst)
        benches = {}
        for name in self._names:
            numbers = [number for number, each in enumerate(self._questions) if each.bench == name]
            counts = Counter(KINDS[kind] for number in numbers if (kind := worst[number]) is not None)
            shares = [common[number] for number in numbers if number in common]
            half = sum(share >= 0.5 for share in shares)
            benches[name] = BenchOverlap(len(numbers), {kind: counts[kind] for kind in KINDS}, len(shares), half)
        pairs = sorted((pair for kept in self._pairs for pair in kept.values()), key=_severity)
        return Overlap(self._texts, self._empty, benches, tuple(pairs), {kind: self._found[kind] for kind in KINDS})

    def _compare(self, rows: Sequence["_Text"]) -> None:
        self._empty += sum(not each.words.exact for each in rows)
        for row, number in self._candidates(rows):
            pair = _judged(self._questions[number], rows[row])
            if pair is not None:
                self._keep(number, rows[row].key, pair)
        rows_found, ngrams = self._ngrams.found([each.words.plain for each in rows])
        for row, ngram in zip(rows_found.tolist(), ngrams.tolist(), strict=True):
            if ngram not in self._stock:
                self._count_ngram(ngram, rows[row].key)

    def _count_ngram(self, ngram: int, key: bytes) -> None:
        seen = self._ngram_rows.setdefault(ngram, set())
        seen.add(key)
        if len(seen) > STOCK_ROWS:
            del self._ngram_rows[ngram]
            self._stock.add(ngram)

    def _candidates(self, rows: Sequence["_Text"]) -> Iterator[tuple[int, int]]:
        """(row, question) of pairs that may be of a kind, each once."""
        skeletons = [each.words.skeleton for each in rows]
        texts, questions, shared = self._near.shared(skeletons)
        sizes = self._near.grams_of[questions]
        by_row: dict[int, dict[int, float]] = {}
        for row, number, share in zip(texts.tolist(), questions.tolist(), (shared / sizes).tolist(), strict=True):
            row_size = max(1, len(skeletons[row]) - _WORDS + 1)
            overlap = share * max(1.0, self._near.grams_of[number] / row_size)
            if overlap >= _CANDIDATE:
                by_row.setdefault(row, {})[number] = overlap
        for row, text in enumerate(rows):
            alike = by_row.get(row, {})
            sure = [number for number, overlap in alike.items() if overlap >= _SURE]
            others = sorted(alike, key=lambda each: (-alike[each], each))[:_CANDIDATES]
            variants = self._same.get(text.words.skeleton, [])[:_CANDIDATES]
            for number in sorted({*sure, *others, *variants, *self._same.get(text.words.exact, ())}):
                yield row, number

    def _keep(self, number: int, key: bytes, pair: Pair) -> None:
        """Remember the worst pairs of a question; a text that came before is counted as a copy."""
        kept = self._pairs[number]
        if key in kept:
            kept[key] = replace(kept[key], copies=kept[key].copies + 1)
            return
        self._found[pair.kind] += 1
        kept[key] = pair
        if len(kept) > PAIRS_KEPT:
            del kept[max(kept, key=lambda each: _severity(kept[each]))]

    def _common_ngrams(self, worst: Sequence[int | None]) -> dict[int, float]:
        """The share of common 13-grams of every question that has one."""
        starts, owners = self._ngrams.starts, self._ngrams.owners
        counts = Counter(
            number for ngram in self._ngram_rows for number in owners[starts[ngram] : starts[ngram + 1]].tolist()
        )
        shares = {number: count / int(self._ngrams.grams_of[number]) for number, count in counts.items()}
        # Words that stand in a text as a whole are no stock phrase, however often the text occurs.
        found = (KINDS.index("exact"), KINDS.index("contained"))
        return shares | {number: 1.0 for number, kind in enumerate(worst) if kind in found}


@dataclass
class _Text:
    """A question or a training text, with what is computed when it is first needed."""

    bench: str
    id: str
    place: str
    text: str

    @cached_property
    def words(self) -> QuestionWords:
        return question_words(self.text)

    @cached_property
    def key(self) -> bytes:
        return hashlib.blake2b(" ".join(self.words.exact).encode("utf-8", "replace"), digest_size=12).digest()

    @cached_property
    def grams(self) -> frozenset[tuple[str, ...]]:
        return grams(self.words.plain, _WORDS)

    @cached_property
    def characters(self) -> frozenset[str]:
        return characters(self.words.plain, _CHARACTERS)

    @cached_property
    def spelled(self) -> str:
        return f" {' '.join(self.words.exact)} "


def _judged(question: _Text, row: _Text) -> Pair | None:
    """The pair of a question and a training text, None where they are none."""
    kind = _kind(question, row)
    similarity = 1.0 if kind == "exact" else _similarity(question, row)
    if similarity < NEAR and kind != "contained":
        return None
    return Pair(
        question.bench,
        question.id,
        row.id,
        row.place,
        kind or "near",
        similarity,
        _shown(question.text),
        _shown(row.text),
    )


def _kind(question: _Text, row: _Text) -> Kind | None:
    asked, given = question.words, row.words
    if asked.exact == given.exact:
        return "exact"
    if len(asked.exact) >= _CONTAINED_WORDS and len(given.exact) > len(asked.exact) and question.spelled in row.spelled:
        return "contained"
    return "variant" if asked.skeleton == given.skeleton else None


def _similarity(question: _Text, row: _Text) -> float:
    """Jaccard of character 8-grams or word 5-grams, the larger. 0 where lengths alone keep both below NEAR."""
    shorter, longer = sorted((len(question.spelled), len(row.spelled)))
    if shorter < NEAR * longer / 4:
        return 0.0
    return max(jaccard(question.characters, row.characters), jaccard(question.grams, row.grams))


def _severity(pair: Pair) -> tuple[int, float, str, str, str]:
    return KINDS.index(pair.kind), -pair.similarity, pair.bench, pair.question, pair.place


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"


def _batch(stream: Iterator[TrainingText]) -> Iterator[TrainingText]:
    """The next texts, as many as fit into a batch."""
    size = 0
    for each in islice(stream, _BATCH_TEXTS):
        yield each
        size += len(each.text)
        if size >= _BATCH_CHARACTERS:
            return
