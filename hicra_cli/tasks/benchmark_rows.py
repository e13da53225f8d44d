"""Which questions and golds a benchmark has, as digests: the data themselves are other people's and not shipped.

A line of NAME.rows is `QUESTION GOLD ID`: 16 hexadecimal digits of the sha256 of the question without blanks, 8 of the
gold's without blanks, dollar signs and a closing full stop, and the id the question has in every copy. The digest of
a copy is the sha256 of its sorted QUESTION GOLD pairs, so neither order nor ids matter.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from hicra_cli.core.records import Prompt
from hicra_cli.tasks.benchmark_specs import sets_folder

_IGNORED = re.compile(r"[\s$]+")


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Digests of a published set: golds and ids by question."""

    golds: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, text: str) -> str | None:
        """The id of a question, the same in every copy; None for one that is not known."""
        return self.ids.get(question_key(text))


@dataclass(frozen=True, slots=True)
class Difference:
    """How a copy differs from the published set. reworded: questions with another text but a gold of the set."""

    reworded: tuple[str, ...]
    other_golds: tuple[str, ...]
    missing: tuple[str, ...]


@cache
def known_rows(name: str) -> KnownRows:
    """The shipped digests of a benchmark; nothing where there are none."""
    path = sets_folder() / f"{name}.rows"
    if not path.is_file():
        return KnownRows()
    return parsed(path.read_text(encoding="utf-8").splitlines())


def parsed(lines: Iterable[str]) -> KnownRows:
    """The content of a NAME.rows."""
    parts = [line.split(" ", 2) for line in lines]
    return KnownRows({part[0]: part[1] for part in parts}, {part[0]: part[2] for part in parts})


def row_lines(prompts: Iterable[Prompt]) -> list[str]:
    """What NAME.rows holds for these questions, in their order."""
    return [f"{question_key(each.text)} {gold_key(each.answer)} {each.id}" for each in prompts]


def rows_sha256(prompts: Iterable[Prompt]) -> str:
    """The digest of a copy: equal where questions and golds are, in whatever order and under whatever ids."""
    pairs = sorted(f"{question_key(each.text)} {gold_key(each.answer)}" for each in prompts)
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()


def difference(prompts: Sequence[Prompt], known: KnownRows) -> Difference:
    """Names the questions whose text or gold is not the published one, and the published ones that are not there."""
    keys = {question_key(each.text): each for each in prompts}
    unseen = Counter(gold for key, gold in known.golds.items() if key not in keys)
    reworded, other_golds = [], []
    for key, prompt in keys.items():
        gold = gold_key(prompt.answer)
        if key in known.golds:
            if known.golds[key] != gold:
                other_golds.append(prompt.id)
        elif unseen[gold] > 0:
            unseen[gold] -= 1
            reworded.append(prompt.id)
        else:
            other_golds.append(prompt.id)
    missing = [known.ids[key] for key in known.golds if key not in keys] if len(prompts) < len(known.golds) else []
    return Difference(tuple(reworded), tuple(other_golds), tuple(missing))


def question_key(text: str) -> str:
    """16 hexadecimal digits that name a question, blanks ignored."""
    return _sha256("".join(text.split()))[:16]


def gold_key(gold: str) -> str:
    """8 hexadecimal digits that name a gold's spelling."""
    return _sha256(_IGNORED.sub("", gold).removesuffix("."))[:8]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
