"""Rendering prompts: chat templates of several kinds, plain text, and what is refused."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.records import Prompt
from hicra_cli.tasks.prompts import render, rendered, tells_the_date, template_text, user_text

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if enable_thinking is defined and not enable_thinking %}<quick>"
    "{% endif %}{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
PROMPT = Prompt("q", "What is 1 + 1?", "2")
MATHS = TaskConfig(kind="maths", train_data="x.jsonl", instruction="Box it.")


def tokenizer(template=TEMPLATE, *, begin=False):
    """A real byte-level tokenizer whose decode gives the text back."""
    vocabulary = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab={**vocabulary, "<s>": len(vocabulary)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    backend.decoder = decoders.ByteLevel()
    if begin:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", len(vocabulary))]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>" if begin else None)
    made.chat_template = template
    return made


def text(prompt=PROMPT, task=MATHS, made=None, **options):
    made = made or tokenizer()
    return made.decode(render(prompt, made, task, **options))


def test_the_template_opens_the_models_turn_and_maths_gets_its_instruction():
    assert text() == "<user>What is 1 + 1?\nBox it.<assistant>"


def test_countdown_says_itself_what_to_do():
    assert text(task=TaskConfig()) == "<user>What is 1 + 1?<assistant>"


def test_a_benchmark_decides_over_the_task_whether_the_instruction_is_given():
    task = TaskConfig(instruction="Box it.")
    assert text(task=task, instruct=True) == "<user>What is 1 + 1?\nBox it.<assistant>"
    assert user_text(PROMPT, MATHS, instruct=False) == "What is 1 + 1?"


def test_system_prompt_and_template_options_reach_the_template():
    task = MATHS.model_copy(update={"system_prompt": "Be brief.", "template_options": {"enable_thinking": False}})
    assert text(task=task) == "<system>Be brief.<user>What is 1 + 1?\nBox it.<assistant><quick>"


@pytest.mark.parametrize("without", ["tokenizer", "configuration"])
def test_without_a_template_the_same_parts_are_plain_paragraphs(without):
    task = MATHS.model_copy(update={"system_prompt": "Be brief.", "chat_template": without == "tokenizer"})
    made = tokenizer(None if without == "tokenizer" else TEMPLATE)
    assert text(task=task, made=made) == "Be brief.\n\nWhat is 1 + 1?\nBox it.\n"


def test_plain_text_begins_as_the_tokenizer_begins_texts():
    made = tokenizer(None, begin=True)
    ids = render(PROMPT, made, MATHS)
    assert ids[0] == made.bos_token_id
    assert (ids == made.bos_token_id).sum() == 1


def test_the_template_alone_decides_about_the_begin_token():
    made = tokenizer(begin=True)
    assert made.bos_token_id not in render(PROMPT, made, MATHS)


def test_a_template_without_a_system_role_is_a_clear_error():
    task = MATHS.model_copy(update={"system_prompt": "Be brief."})
    with pytest.raises(ConfigError, match="no system role") as failure:
        render(PROMPT, tokenizer(NO_SYSTEM), task)
    assert failure.value.fix


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(ConfigError, match="no tokens"):
        render(PROMPT, tokenizer("{{ '' }}"), MATHS)


def test_the_template_text_tells_other_prompts_apart():
    texts = {
        template_text(tokenizer(), MATHS),
        template_text(tokenizer(NO_SYSTEM), MATHS),
        template_text(tokenizer(), MATHS.model_copy(update={"instruction": "Think."})),
        template_text(tokenizer(), MATHS.model_copy(update={"template_options": {"enable_thinking": False}})),
    }
    assert len(texts) == 4


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_the_text_of_a_rendered_prompt_gives_its_token_ids(template, begin):
    made = tokenizer(template, begin=begin)
    (prompt,) = rendered([PROMPT], made, MATHS)
    assert made(prompt.text, add_special_tokens=False)["input_ids"] == prompt.token_ids.tolist()
    assert prompt.text.endswith("Box it.<assistant>" if template else "Box it.\n")
    assert prompt.text.startswith("<s>") == (begin and template is None)


def test_an_option_that_the_template_does_not_read_is_refused_with_the_reason():
    task = MATHS.model_copy(update={"template_options": {"enable_thought": False}})
    with pytest.raises(ConfigError, match="does not read enable_thought") as failure:
        render(PROMPT, tokenizer(), task)
    assert failure.value.where == "task.template_options"


def test_template_options_without_a_template_are_refused():
    task = MATHS.model_copy(update={"template_options": {"enable_thinking": False}})
    with pytest.raises(ConfigError, match="has no chat template"):
        render(PROMPT, tokenizer(None), task)
    with pytest.raises(ConfigError, match=r"task\.chat_template is false"):
        render(PROMPT, tokenizer(), task.model_copy(update={"chat_template": False}))


def test_a_template_that_writes_the_date_is_noticed():
    dated = "{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}" + TEMPLATE
    assert tells_the_date(tokenizer(dated), MATHS)
    assert not tells_the_date(tokenizer(dated), MATHS.model_copy(update={"template_options": {"date_string": "1"}}))
    assert not tells_the_date(tokenizer(), MATHS)
    assert not tells_the_date(tokenizer(None), MATHS)
