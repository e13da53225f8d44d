"""Instructions that published training sets write around each problem, and how to take them off.

They ask for an answer format of their own ("Answer: …", "#### …"), which contradicts the `\\boxed{}` that is asked for
and graded here. Only these exact texts are known; anything else is part of the problem.
"""

_KNOWN = (
    # DAPO-Math-17k: all of its rows
    (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n",
        '\n\nRemember to put your answer on its own line after "Answer:".',
    ),
    # what verl's preparation scripts add to GSM8K, and to MATH and sets like it
    ("", 'Let\'s think step by step and output the final answer after "####".'),
    ("", "Let's think step by step and output the final answer within \\boxed{}."),
)


def without_instructions(text: str) -> str:
    """The bare problem; the text itself where it carries none of the known instructions."""
    for opening, closing in _KNOWN:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            return text[len(opening) : -len(closing)].strip()
    return text
