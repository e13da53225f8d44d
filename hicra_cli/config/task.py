"""Which problems are posed and how a response is asked for."""

from typing import Literal

from pydantic import Field

from hicra_cli.config.section import Section


class TaskConfig(Section):
    kind: Literal["countdown", "maths"] = Field(
        "countdown",
        description="`countdown`: the built-in task; `maths`: problems with a gold answer from `train_data`.",
    )
    numbers: Literal[3, 4] = Field(3, description="countdown: how many numbers a problem gives.")
    train_data: str | None = Field(
        None,
        description="maths: JSONL file (fields problem, answer) or HF data set id with the training problems.",
    )
    problem_field: str = Field("problem", description="Field of `train_data` that holds the question.")
    answer_field: str = Field("answer", description="Field of `train_data` that holds the gold answer.")
    id_field: str | None = Field("id", description="Field of `train_data` that names the problem; else its number.")
    split: str = Field("train", description="Split of an HF data set.")
    system_prompt: str | None = Field(None, description="System message of the chat template; none by default.")
    instruction: str = Field(
        "Please reason step by step, and put your final answer within \\boxed{}.",
        description="maths: sentence added after the question.",
    )
    chat_template: bool = Field(
        True, description="Use the tokenizer's chat template; false feeds question and instruction as plain text."
    )
    template_options: dict[str, bool | int | str] = Field(
        default_factory=dict,
        description="Extra arguments of the chat template, for example {enable_thinking: false} of Qwen3.",
    )
    grader_timeout_s: float = Field(5.0, gt=0, le=600, description="maths: seconds of work one answer may cost.")
    grader_workers: int = Field(1, ge=1, le=256, description="maths: killable grading processes.")
