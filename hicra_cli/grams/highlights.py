"""Where a gram stands in a stretch of text, for the eye: in example contexts, which are cut out of their text.

The matcher decides what a planning token is. It needs whole texts: in a context that begins inside maths it would find
nothing. Here the words are looked for as they are written.
"""

import re
from functools import lru_cache

_VARIANTS = {"'": "['’‘‛ʼ＇]", "-": "[-‐‑﹣－]"}
_BETWEEN = r"(?:[^\w.!?…:;]|_)+"  # what may stand between two words of a gram: no sentence end


def gram_spans(text: str, gram: str) -> list[tuple[int, int]]:
    """The characters [start, end) of each place where the normalised words of `gram` follow one another."""
    return [found.span() for found in _pattern(gram).finditer(text)]


@lru_cache(maxsize=4096)
def _pattern(gram: str) -> re.Pattern[str]:
    words = _BETWEEN.join("".join(_VARIANTS.get(each, re.escape(each)) for each in word) for word in gram.split())
    begin = r"(?<![^\W_])(?<![^\W_]['’-])"  # not inside a longer word: `let` is no part of `let's`
    return re.compile(rf"{begin}{words}(?![^\W_])(?!['’-][^\W_])", re.IGNORECASE)
