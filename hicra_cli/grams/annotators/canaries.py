"""Control items: grams whose judgement is beyond doubt, mixed into every request.

A model that was talked into something by the text of an item, that answers by position, or that labels everything
alike, misjudges one of them; its whole answer is then thrown away. Only strategic or not is asked of it: which move a
gram makes may be argued about. A control item looks like any other item.
"""

from collections.abc import Collection, Sequence

from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.candidates import Candidate

from .prompt import Entry, item_id

# Each gram stands in the places where it was found, marked here by {}.
STRATEGIC: dict[str, tuple[str, ...]] = {
    "wait that can't be right": ("the sum is 14. {} because the total was", "{}. let me go back to"),
    "let me double check this": ("so the answer is 12. {} by", "hmm, {} before going on"),
    "let's try another approach": ("this gets messy. {} and", "no luck here, so {} instead"),
    "what if we instead": ("that fails. {} look at", "okay, but {} start from the end"),
    "suppose for contradiction that": ("now {} there is a", "{} both are odd. then"),
    "i made a mistake earlier": ("hold on, {} when", "it seems {}, so"),
}
ROUTINE: dict[str, tuple[str, ...]] = {
    "minus seven equals twelve": ("nineteen {}, so", "and nineteen {} apples"),
    "of the blue marbles": ("the number {} is", "three {} were lost"),
    "divided by two is": ("eighteen {} nine", "the width {} 4.5"),
    "the train from boston": ("{} leaves at noon", "meets {} after"),
    "kilograms of white sugar": ("buys {} at", "two {} and"),
    "on both sides gives": ("adding 3 {} x", "dividing {} y = 2"),
}


def control_items(count: int, batch: Collection[str], *, seed: int, request: str) -> list[Candidate]:
    """`count` control items for a request, first a routine and then a strategic one; none of them is in `batch`."""
    generator = generator_for(seed, "canaries", prompt=request)
    chosen: list[str] = []
    for index in range(count):
        kind = (ROUTINE, STRATEGIC)[index % 2]
        pool = [gram for gram in kind if gram not in batch and gram not in chosen]
        if pool:
            chosen.append(pool[int(generator.integers(len(pool)))])
    return [_candidate(gram) for gram in chosen]


def mixed(batch: Sequence[Candidate], controls: Sequence[Candidate], *, seed: int, request: str) -> list[Candidate]:
    """The batch in its order, with the control items at places that depend on the seed and the request.

    A strategic one stands neither first nor last: a model that picks the first or the last item is found out for sure.
    """
    generator = generator_for(seed, "canary places", prompt=request)
    items = list(batch)
    for control in sorted(controls, key=lambda each: each.gram in STRATEGIC):
        inside = control.gram in STRATEGIC and len(items) > 1
        items.insert(int(generator.integers(int(inside), len(items) + (0 if inside else 1))), control)
    return items


def misjudged(controls: Sequence[Candidate], entries: dict[str, Entry]) -> str | None:
    """The first control item that got the wrong judgement, as a reason; None where all are right."""
    for control in controls:
        if (entries[item_id(control.gram)].move != "none") != (control.gram in STRATEGIC):
            return f'the control item "{control.gram}" was misjudged: something in the batch misleads the model'
    return None


def _candidate(gram: str) -> Candidate:
    contexts = tuple(place.format(gram) for place in (STRATEGIC.get(gram) or ROUTINE[gram]))
    return Candidate(gram, len(gram.split()), 9, 5, 4, (), contexts)
