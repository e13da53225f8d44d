"""Counting under any memory and any number of processes gives what a plain dictionary gives."""

import gzip
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.collect import CollectConfig
from hicra_cli.core.errors import RunError
from hicra_cli.grams.candidates import Candidate, Counts, Share
from hicra_cli.grams.count_spool import Budget, budget_for
from hicra_cli.grams.counting import POOL_FACTOR, STOP_WORDS, Solution, count_grams, count_within
from hicra_cli.text.words import segments

Gram = tuple[str, ...]


def plain_counts(solutions, config, *, names=frozenset()):
    """The definition: dictionaries of tuples of words, no arrays, nothing shared with the engine but `segments`."""
    counted = [each for each in solutions if each.successful]
    grams = [grams_of(each.text, config) for each in solutions]
    count: Counter[Gram] = Counter()
    failures: Counter[Gram] = Counter()
    documents: dict[Gram, set[str | int]] = {}
    users: dict[Gram, Counter[tuple[str | None, int | None]]] = {}
    for number, (solution, found) in enumerate(zip(solutions, grams, strict=True)):
        if not solution.successful:
            failures.update(set(found))
            continue
        count.update(found)
        for gram in set(found):
            documents.setdefault(gram, set()).add(solution.problem_id if config.document == "problem" else number)
            users.setdefault(gram, Counter())[solution.policy, solution.step] += 1
    dropped: Counter[str] = Counter()
    passed: list[Gram] = []
    for gram in count:
        reason = reason_against(gram, len(documents[gram]), config, names)
        dropped[reason] += 1
        if reason == "":
            passed.append(gram)
    passed.sort(key=lambda gram: (-len(documents[gram]), -count[gram], " ".join(gram)))
    pool = passed[: POOL_FACTOR * config.max_candidates]
    sizes = Counter((each.policy, each.step) for each in counted)
    groups = sorted(
        sizes, key=lambda group: (group[0] is not None, group[0] or "", group[1] is not None, group[1] or 0)
    )
    candidates = [
        Candidate(
            gram=" ".join(gram),
            n=len(gram),
            count=count[gram],
            solutions=sum(users[gram].values()),
            document_frequency=len(documents[gram]),
            shares=tuple(Share(*group, users[gram][group], users[gram][group] / sizes[group]) for group in groups),
            contexts=(),
            failures=failures[gram],
        )
        for gram in pool
    ]
    reasons = {reason: dropped[reason] for reason in ("rare", "symbols", "stop_words", "names")}
    return Counts(
        candidates=tuple(candidates),
        problems=len({each.problem_id for each in counted}),
        solutions=len(counted),
        words=sum(len(run) for each in counted for run in segments(each.text)),
        distinct_grams=len(count),
        dropped={**reasons, "beyond_pool": len(passed) - len(pool)},
        failures=len(solutions) - len(counted),
    )


def grams_of(text, config):
    runs = [[word.normalised for word in run] for run in segments(text)]
    lengths = range(config.ngram_min, config.ngram_max + 1)
    return [tuple(run[at : at + n]) for run in runs for n in lengths for at in range(len(run) - n + 1)]


def reason_against(gram, document_frequency, config, names):
    if document_frequency < config.min_document_frequency:
        return "rare"
    if any(len(word) == 1 and word not in "ai" for word in gram):
        return "symbols"
    if STOP_WORDS.issuperset(gram):
        return "stop_words"
    return "names" if names.intersection(gram) else ""


WORDS = st.sampled_from(
    ["we", "we", "we", "can", "let's", "is", "the", "x", "use", ".", "\n", "$y$", "7", "it", "anna"]
)
TEXTS = st.lists(WORDS, max_size=40).map(" ".join)
SOLUTIONS = st.lists(
    st.builds(
        Solution,
        st.sampled_from("pqrs"),
        TEXTS,
        st.sampled_from(["a", None]),
        st.sampled_from([0, 5, None]),
        successful=st.sampled_from([True, True, False]),
    ),
    max_size=10,
)
CONFIGS = st.builds(
    lambda lengths, **changes: CollectConfig(ngram_min=min(lengths), ngram_max=max(lengths), **changes),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    min_document_frequency=st.integers(1, 3),
    max_candidates=st.integers(1, 4),
    document=st.sampled_from(["problem", "solution"]),
    workers=st.just(1),
)


NAMES = frozenset({"anna"})

# Files for everything, batches of a few words, tasks of two rows: what is met at scale, met at once.
TINY = Budget(workers=1, capacity=2, rows_at_once=2, batch_characters=60, places_in_memory=1, characters_alone=1 << 30)


@settings(deadline=None, max_examples=150)
@given(SOLUTIONS, CONFIGS)
def test_counts_in_memory_equal_those_of_the_definition(solutions, config):
    assert count_grams(iter(solutions), config, names=NAMES) == plain_counts(solutions, config, names=NAMES)


@settings(deadline=None, max_examples=100)
@given(SOLUTIONS, CONFIGS, st.sampled_from([1, 2, 7, 40]))
def test_counts_from_files_equal_those_of_the_definition(solutions, config, capacity):
    budget = replace(TINY, capacity=capacity)
    assert count_within(budget, iter(solutions), config, names=NAMES) == plain_counts(solutions, config, names=NAMES)


def test_what_is_repeated_without_end_is_counted_in_little_memory():
    # 40 solutions of 30 times one sentence of 6 words: no hash can deal these rows, 1200 for each gram
    solutions = [Solution(str(at % 8), "wait let me think it over. " * 30, "a", at % 3) for at in range(40)]
    config = CollectConfig(min_document_frequency=3)
    assert count_within(replace(TINY, capacity=50), solutions, config) == plain_counts(solutions, config)
    # and a loop of one word, in which each place begins a gram of every length
    solutions = [Solution(str(at), "wait " * 300) for at in range(5)]
    assert count_within(replace(TINY, capacity=50), solutions, config) == plain_counts(solutions, config)


def mixed(count=300):
    words = ["we", "can", "let's", "see", "if", "that", "is", "right", "so", "wait,", "now.", "then", "x", "\ud800"]
    return [
        Solution(
            str(at % 50),
            " ".join(words[(at * 7 + k * k * (at % 11 + 1)) % len(words)] for k in range(40)),
            "ab"[at % 2],
            at % 5,
            truncated=at % 6 == 0,
            successful=at % 4 != 0,
        )
        for at in range(count)
    ]


def test_memory_decides_how_many_processes_work_and_on_how_much():
    # 10^9 bytes less 400 MB for this process leave room for 2 workers of 250 MB, of 300 MB each to be exact; 190 MB
    # of those after 110 MB for an interpreter are 950,000 rows of 200 bytes
    assert budget_for(10**9, 64) == Budget(workers=2, capacity=950_000, places_in_memory=950_000)
    assert budget_for(5 * 10**8, 4).workers == 1
    # 100 MB are less than an interpreter takes: the least of everything
    least = budget_for(10**8, 1)
    assert (least.capacity, least.batch_characters, least.places_in_memory) == (1 << 16, 1 << 18, 1 << 16)


def test_processes_change_nothing(tmp_path):
    solutions, config = mixed(), CollectConfig(max_candidates=5)
    alone = count_grams(solutions, config)
    several = replace(TINY, workers=2, capacity=1000, rows_at_once=500, batch_characters=4000, characters_alone=8000)
    assert count_within(several, iter(solutions), config, scratch=tmp_path) == alone
    assert len(alone.candidates) == 50
    assert alone.dropped["beyond_pool"] > 0
    assert list(tmp_path.iterdir()) == []


def test_words_keep_their_numbers_when_batches_bring_no_new_ones(tmp_path):
    # every batch after the first few is made of known words, and two processes number them in their own order
    solutions = [*mixed(40), *mixed(40), *mixed(40), Solution("late", "some new words come at last")]
    config = CollectConfig(min_document_frequency=1)
    several = replace(TINY, workers=2, capacity=300, rows_at_once=100, batch_characters=300, characters_alone=600)
    assert count_within(several, solutions, config, scratch=tmp_path) == count_grams(solutions, config)


def test_the_scratch_folder_is_left_empty_when_the_solutions_fail(tmp_path):
    def broken():
        yield from mixed(100)
        raise OSError("the disk went away")

    several = replace(TINY, workers=2, batch_characters=1000, characters_alone=2000)
    with pytest.raises(OSError, match="went away"):
        count_within(several, broken(), CollectConfig(), scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_counting_process_that_is_killed_ends_the_count_with_its_reason(tmp_path):
    several = replace(TINY, workers=2, batch_characters=500, characters_alone=500)

    def killing():
        yield from mixed(50)
        for child in children_of(os.getpid()):
            os.kill(child, signal.SIGKILL)
        yield from mixed(300)

    with pytest.raises(RunError, match="a counting process ended while it worked") as caught:
        count_within(several, killing(), CollectConfig(), scratch=tmp_path)
    assert caught.value.fix is not None
    assert "collect.memory" in caught.value.fix
    assert list(tmp_path.iterdir()) == []
    assert children_of(os.getpid()) == []


def children_of(parent):
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = status.read_text().rpartition(")")
        except OSError:
            continue
        state, parent_id = fields.split()[:2]
        if int(parent_id) == parent and state != "Z":
            found.append(int(name.split()[0]))
    return found


def test_a_full_disk_is_told_by_the_process_that_met_it(tmp_path):
    several = replace(TINY, workers=2, batch_characters=500, characters_alone=500)

    def unwritable():
        yield from mixed(50)
        for folder in tmp_path.iterdir():
            # Moved away at once: a process that writes meanwhile would put a file into a folder being emptied.
            folder.rename(tmp_path.with_name(f"{tmp_path.name}-gone"))
        yield from mixed(300)

    with pytest.raises(RunError, match=r"a counting process failed: FileNotFoundError.*batch-"):
        count_within(several, unwritable(), CollectConfig(), scratch=tmp_path)


@pytest.mark.slow
def test_real_rollouts_are_counted_as_the_definition_counts_them(rollouts_dir, tmp_path):
    with gzip.open(rollouts_dir / "qwen25_3b_base_vs_rl_matheval.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    solutions = [
        Solution(row["problem"], row["response"], row["model"], row["step"], successful=bool(row["correct"]))
        for row in rows
    ]
    config = CollectConfig(max_candidates=500)
    several = Budget(workers=2, capacity=20_000, rows_at_once=10_000, batch_characters=500_000, characters_alone=10**6)
    assert count_within(several, solutions, config, scratch=tmp_path) == plain_counts(solutions, config)
