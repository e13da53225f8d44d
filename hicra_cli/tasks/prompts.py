"""From a prompt to token ids: system message, question, instruction, chat template."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.records import Prompt


def render(prompt: Prompt, tokenizer: Any, task: TaskConfig) -> NDArray[np.int32]:
    """(P,) int32 ids of the prompt as the model reads it, ready for its answer.

    With a chat template (and `task.chat_template`) the template decides the special tokens; without one the text is
    encoded as it is. The instruction belongs to maths; countdown says its rule in the question. Raises ConfigError
    where the template refuses the messages or options.
    """
    text = user_text(prompt, task)
    if not task.chat_template or getattr(tokenizer, "chat_template", None) is None:
        plain = text if task.system_prompt is None else f"{task.system_prompt}\n\n{text}"
        return np.asarray(tokenizer.encode(plain), dtype=np.int32)
    messages = [{"role": "user", "content": text}]
    if task.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": task.system_prompt})
    try:
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False, **task.template_options
        )
    except Exception as error:  # a template is a program of the model's authors and may raise anything
        raise ConfigError(
            f"the chat template refused the prompt: {error}",
            where="task",
            fix="Check task.system_prompt and task.template_options, or set task.chat_template to false",
        ) from error
    return np.asarray(ids, dtype=np.int32)


def user_text(prompt: Prompt, task: TaskConfig) -> str:
    """What the user asks: the question, for maths followed by the instruction."""
    if task.kind == "countdown" or not task.instruction:
        return prompt.text
    return f"{prompt.text}\n\n{task.instruction}"
