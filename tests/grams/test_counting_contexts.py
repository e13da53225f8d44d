"""Choosing surroundings: what they show, one per problem, whatever the order of solutions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grams.contexts import choose_contexts
from hicra_cli.grams.counting import Solution


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
