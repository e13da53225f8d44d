"""Which problems are posed, how a response is asked for, and what rewards it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hicra_cli.config.section import Section


def _as_list(value: Any) -> Any:
    """One source may be written without brackets."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


class TaskConfig(Section):
    kind: Literal["countdown", "maths"] = Field(
        "countdown",
        description="`countdown`: the built-in task; `maths`: problems with a gold answer from `train_data`.",
    )
    numbers: Literal[3, 4] = Field(3, description="countdown: how many numbers a problem gives.")
    train_data: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default_factory=list,
        description="maths: one or several sources of training problems: JSONL (.gz, .zst) or Parquet files, folders "
        "(Parquet, or saved by `datasets`), data set ids of the hub (OWNER/NAME, OWNER/NAME:SUBSET, OWNER/NAME:* for "
        "all subsets). A problem that occurs twice counts once.",
    )
    problem_field: str = Field("problem", description="Field of `train_data` that holds the question.")
    answer_field: str = Field("answer", description="Field of `train_data` that holds the gold answer.")
    id_field: str | None = Field("id", description="Field of `train_data` that names the problem; else its number.")
    split: str = Field("train", description="Split of a data set.")
    keep_instructions: bool = Field(
        False,
        description="Keep the answer format that some data sets write around each problem (DAPO's `Answer:` line); by "
        "default it is taken off, because `instruction` asks for the format that is graded.",
    )
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="Longest prompt in tokens; by default what the response limit leaves of the context."
    )
    long_prompts: Literal["error", "drop", "truncate"] = Field(
        "error",
        description="Longer prompts: stop before training, drop them (counted), or keep their last tokens (counted).",
    )
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
    reward: str | None = Field(
        None,
        description="Your own reward instead of the task's grading: MODULE:FUNCTION, FILE.py:FUNCTION or the name of "
        "an entry point in the group hicra.rewards.",
    )
    reward_deadline_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="reward: seconds by the clock that one call may take, waiting for others included.",
    )
    reward_memory_gib: float | None = Field(
        2.0, gt=0, description="reward: memory a worker may take after importing the function; null is no limit."
    )
    max_failed_fraction: float = Field(
        0.1,
        ge=0,
        le=1,
        description="reward: the run stops when more than this share of at least 20 calls raised, hung or gave no "
        "number.",
    )
    grader_timeout_s: float = Field(
        5.0, gt=0, le=600, description="Seconds of processor time that grading one answer may cost."
    )
    grader_workers: int = Field(1, ge=1, le=256, description="Killable grading processes.")
