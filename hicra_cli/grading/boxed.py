r"""Where the final answer stands: the last complete `\boxed{...}` of a response, as the paper's strict grading has it.

Everything is one pass over the text, so a response of a million characters costs milliseconds. What does not count
as an answer: numbers after "the answer is", dollar signs, a box whose brace never closes.
"""

import re

THINKING_END = "</think>"

# An opened box, an escaped character, or a brace. Up to four backslashes: models escape as for JSON; the bound keeps
# the search linear on a text of backslashes.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)


def final_answer(response: str) -> str | None:
    """The content of the last complete box after the thinking, stripped; None where there is none or it is empty.

    The thinking ends with the last `</think>`; where that is missing the whole response is searched.
    """
    answer = last_box(response.rpartition(THINKING_END)[2])
    return answer or None


def last_box(text: str) -> str | None:
    r"""The content of the complete `\boxed{...}` or `\fbox{...}` that opens last; None without one.

    Braces are balanced, escaped ones (`\{`) are characters. In a nested box the inner one opens last.
    """
    open_braces: list[int | None] = []  # where a box's content starts, None for an ordinary brace
    start, end = -1, -1
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign == "}":
            opened = open_braces.pop() if open_braces else None
            if opened is not None and opened > start:
                start, end = opened, token.start()
        elif sign == "{":
            open_braces.append(None)
        elif len(sign) > 2:
            open_braces.append(token.end())
    return text[start:end].strip() if start >= 0 else None
