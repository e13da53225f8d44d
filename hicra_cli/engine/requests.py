"""What every engine does alike with a request, a finished response and a library's exception."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import EngineError
from hicra_cli.engine.base import Request


def check_prompt(request: Request, context: int) -> None:
    """Raise EngineError where a prompt is empty or leaves no room for a response in `context` tokens."""
    length = len(request.token_ids)
    if length == 0:
        raise EngineError(
            f"prompt {request.prompt.id!r} has no tokens",
            fix="Check the chat template and the tokenizer's begin-of-text token.",
        )
    if length >= context:
        raise EngineError(
            f"prompt {request.prompt.id!r} has {length} tokens, but the model's context of {context} must also hold "
            "its response",
            fix="Drop or shorten this prompt, or use a model with a longer context.",
        )


def decode_response(tokenizer: Any, token_ids: NDArray[np.int32]) -> str:
    """The response's text without special tokens, with every blank as the tokens have it."""
    text = tokenizer.decode(token_ids.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def first_line(error: Exception) -> str:
    """What an exception of a library says, short enough for one paragraph."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
