"""Choosing surroundings: what they show, one per problem, whatever the order of solutions."""

from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.contexts import choose_contexts, context_around
from hicra_cli.grams.counting import Solution
from hicra_cli.text.words import segments


def chosen(solutions, gram, *, limit=3, seed=0):
    (contexts,) = choose_contexts(solutions, [gram], limit=limit, seed=seed)
    return contexts


def test_a_context_shows_the_gram_in_its_surroundings_one_per_problem():
    long = "word " * 60 + "so let me check\n  the sum " + "more " * 60
    solutions = [Solution("p", long), Solution("p", "let me check again"), Solution("q", "let me check it")]
    contexts = chosen(solutions, "let me check")
    assert len(contexts) == 2
    assert all("let me check" in context for context in contexts)
    assert all(len(context) <= 300 for context in contexts)
    assert chosen(solutions, "let me check", limit=0) == ()
    (context,) = chosen([Solution("p", long)], "let me check")
    assert "so let me check the sum more" in context
    assert context.startswith("word ")


def test_contexts_come_in_the_order_of_the_grams_and_from_successes_only():
    solutions = [Solution("p", "we see it now"), Solution("q", "we see it then", successful=False)]
    assert choose_contexts(solutions, ["see it now", "see it then", "we see it"], limit=3, seed=0) == [
        ("we see it now",),
        (),
        ("we see it now",),
    ]


def test_another_seed_chooses_other_contexts():
    solutions = [Solution(str(at), f"let me check item {chr(97 + at)}{chr(97 + at)}") for at in range(20)]
    assert chosen(solutions, "let me check", seed=0) != chosen(solutions, "let me check", seed=1)


def test_the_first_occurrence_in_a_solution_is_shown():
    text = "Now Let Me check. " + "word " * 60 + "then let me check"
    (context,) = chosen([Solution("p", text)], "let me check")
    assert context.startswith("Now Let Me check.")


WORDS = st.sampled_from(["let", "me", "check", "it", ".", "so,", "$x$"])
SOLUTIONS = st.lists(
    st.builds(Solution, st.sampled_from("pqr"), st.lists(WORDS, max_size=12).map(" ".join)), max_size=8
)


@settings(deadline=None)
@given(SOLUTIONS, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_solutions(solutions, limit, shuffler):
    shuffled = list(solutions)
    shuffler.shuffle(shuffled)
    grams = ["let me check", "me check it", "check it so let"]
    assert choose_contexts(solutions, grams, limit=limit, seed=0) == choose_contexts(
        shuffled, grams, limit=limit, seed=0
    )


@settings(deadline=None, max_examples=150)
@given(SOLUTIONS, st.integers(1, 3))
def test_the_choice_equals_that_of_the_definition(solutions, limit):
    grams = ["let me check", "me check it", "check it so let", "let me", "me", "never said here", "let me check"]
    found = choose_contexts(iter(solutions), grams, limit=limit, seed=7)
    assert found == [tuple(plain_choice(solutions, gram, limit, seed=7)) for gram in grams]


def plain_choice(solutions, gram, limit, *, seed):
    """All uses of one gram, sorted by their hash, the first of each problem."""
    uses = []
    for solution in solutions:
        for run in segments(solution.text):
            words = [word.normalised for word in run]
            n = len(gram.split())
            at = next((at for at in range(len(run)) if " ".join(words[at : at + n]) == gram), None)
            if at is not None:
                text_hash = seed_for(seed, "contexts", prompt=f"{solution.problem_id}\n{solution.text}")
                gram_hash = int.from_bytes(blake2b(gram.encode(), digest_size=8).digest(), "big")
                shown = context_around(solution.text, run[at].start, run[at + n - 1].end)
                uses.append((splitmix(text_hash ^ gram_hash), solution.problem_id, shown))
                break
    first_of_problem: dict[str, str] = {}
    for _, problem, shown in sorted(uses):
        first_of_problem.setdefault(problem, shown)
    return list(first_of_problem.values())[:limit]


def splitmix(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_a_word_that_the_token_limit_cut_ends_no_context():
    assert chosen([Solution("p", "so let me check", truncated=True)], "let me check") == ()
    assert chosen([Solution("p", "so let me check.", truncated=True)], "let me check") == ("so let me check.",)


def test_many_batches_choose_as_one_does(monkeypatch):
    solutions = [
        Solution(str(at % 9), f"so let me check {chr(97 + at % 26)}{chr(97 + at // 26)} again") for at in range(99)
    ]
    together = choose_contexts(solutions, ["let me check", "so let me"], limit=4, seed=0)
    monkeypatch.setattr("hicra_cli.grams.contexts._BATCH_CHARACTERS", 100)
    assert choose_contexts(solutions, ["let me check", "so let me"], limit=4, seed=0) == together
    assert [len(each) for each in together] == [4, 4]
