"""From a prompt to the token ids a policy is given: instruction, system message, chat template."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.records import Prompt


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """What a policy is given: the text with its special tokens written out, and its token ids (P,) int32."""

    text: str
    token_ids: NDArray[np.int32]


def render(prompt: Prompt, tokenizer: Any, task: TaskConfig, *, instruct: bool | None = None) -> NDArray[np.int32]:
    """(P,) token ids of the templated prompt, ready for a response to follow.

    With a chat template: system message where configured, the user's turn, and the opening of the model's turn. Without
    one (or with `chat_template: false`) the same parts as plain paragraphs after the tokenizer's begin-of-text token.
    instruct: add `task.instruction`; by default for maths, not for countdown, whose problems say what to do. Raises
    ConfigError where the template refuses its options or the result is empty.
    """
    return render_many([prompt], tokenizer, task, instruct=instruct)[0]


def render_many(
    prompts: Sequence[Prompt], tokenizer: Any, task: TaskConfig, *, instruct: bool | None = None
) -> list[NDArray[np.int32]]:
    """`render` of each: one call of the tokenizer, which works on them in parallel."""
    return [each.token_ids for each in rendered(prompts, tokenizer, task, instruct=instruct)]


def rendered(
    prompts: Sequence[Prompt], tokenizer: Any, task: TaskConfig, *, instruct: bool | None = None
) -> list[RenderedPrompt]:
    """`render` of each, with the exact text that its token ids stand for."""
    if not prompts:
        return []
    check_template_options(tokenizer, task)
    begin: list[int] = []
    if uses_template(tokenizer, task):
        texts = [_templated(prompt, user_text(prompt, task, instruct=instruct), tokenizer, task) for prompt in prompts]
    else:
        before = f"{task.system_prompt}\n\n" if task.system_prompt else ""
        texts = [f"{before}{user_text(prompt, task, instruct=instruct)}\n" for prompt in prompts]
        begin = _begin(tokenizer)
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for prompt, ids in zip(prompts, encoded, strict=True):
        if not ids:
            raise ConfigError(
                f"prompt {prompt.id!r} has no tokens", fix="Check the problem's text and the tokenizer's chat template"
            )
    opening = tokenizer.bos_token if begin else ""
    return [
        RenderedPrompt(opening + text, np.asarray([*begin, *ids], dtype=np.int32))
        for text, ids in zip(texts, encoded, strict=True)
    ]


def user_text(prompt: Prompt, task: TaskConfig, *, instruct: bool | None = None) -> str:
    """What the user's turn says: the question, and for maths the instruction after it."""
    wanted = task.kind == "maths" if instruct is None else instruct
    return f"{prompt.text}\n{task.instruction}" if wanted and task.instruction else prompt.text


def uses_template(tokenizer: Any, task: TaskConfig) -> bool:
    """Whether `render` goes through a chat template."""
    return task.chat_template and getattr(tokenizer, "chat_template", None) is not None


def template_text(tokenizer: Any, task: TaskConfig) -> str:
    """What shapes prompts besides the question, as one string: its hash tells evaluations with other prompts apart."""
    template = _template(tokenizer) if uses_template(tokenizer, task) else ""
    options = sorted(task.template_options.items())
    return repr((template, options, task.system_prompt, task.instruction))


def check_template_options(tokenizer: Any, task: TaskConfig) -> None:
    """ConfigError for an option that the chat template does not read: it would change nothing, and silently."""
    if not task.template_options:
        return
    if not uses_template(tokenizer, task):
        why = "the tokenizer has no chat template" if task.chat_template else "task.chat_template is false"
        raise ConfigError(
            f"{_named(task.template_options)} can have no effect: {why}",
            where="task.template_options",
            fix="Leave them out, or use a model with a chat template that reads them",
        )
    template = _template(tokenizer)
    unread = [name for name in task.template_options if not re.search(rf"\b{re.escape(name)}\b", template)]
    if unread:
        raise ConfigError(
            f"the chat template does not read {_named(unread)}, so setting it would change nothing",
            where="task.template_options",
            fix="Leave it out; a model whose template has no thinking switch thinks as it was trained to",
        )


def tells_the_date(tokenizer: Any, task: TaskConfig) -> bool:
    """Whether the chat template writes today's date into prompts (Llama 3.1 does), so that tomorrow's differ."""
    if not uses_template(tokenizer, task):
        return False
    return "strftime_now" in _template(tokenizer) and "date_string" not in task.template_options


def _templated(prompt: Prompt, text: str, tokenizer: Any, task: TaskConfig) -> str:
    from jinja2.exceptions import TemplateError

    messages = [{"role": "system", "content": task.system_prompt}] if task.system_prompt else []
    messages.append({"role": "user", "content": text})
    try:
        result = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **task.template_options
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the tokenizer's chat template refuses prompt {prompt.id!r}: {str(error)[:200]}",
            where="task.template_options" if task.template_options else "task.system_prompt",
            fix="Change it, or set task.chat_template to false",
        ) from error
    if not isinstance(result, str):
        raise ConfigError(
            "the chat template with these options gives no text", where="task.template_options", fix="Remove them"
        )
    return result


def _template(tokenizer: Any) -> str:
    """The chat template in use; of several named ones the default."""
    template = tokenizer.chat_template
    return template if isinstance(template, str) else str(tokenizer.get_chat_template())


def _named(options: Iterable[str]) -> str:
    return ", ".join(options)


def _begin(tokenizer: Any) -> list[int]:
    """What a plain text begins with where the model's training data did and the tokenizer knows; it is never ended."""
    begin = tokenizer.bos_token_id
    adds_begin = begin is not None and tokenizer("", add_special_tokens=True)["input_ids"][:1] == [begin]
    return [begin] if adds_begin else []
