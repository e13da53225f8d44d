"""Every command explains itself: what it reads and writes, an example, its exit codes, and where defaults come from."""

import re
import shlex

import pytest

from hicra_cli.app import COMMANDS, Commands
from hicra_cli.commands.options import Knob
from tests.commands.run_hicra import hicra

GROUPS = {
    "artifacts": ["list", "show", "path", "lineage", "alias", "verify", "gc", "export", "import", "diff"],
    "config": ["show", "schema", "presets"],
}
WORDS = [(name,) for name in COMMANDS if name not in GROUPS] + [(g, c) for g, names in GROUPS.items() for c in names]


def command_of(words):
    command = Commands(name="hicra").get_command(None, words[0])
    for word in words[1:]:
        command = command.commands[word]
    return command


def help_of(words):
    command = command_of(words)
    context = command.make_context("hicra " + " ".join(words), [], resilient_parsing=True)
    return command.get_help(context)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_each_help_has_an_example_and_exit_codes(words):
    text = help_of(words)
    assert re.search(r"Examples?:\n +(hicra|open)", text)
    assert "Exit codes: 0 done" in text
    assert "--json" in text
    assert "--home" in text


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_each_example_of_help_is_a_command_line_that_parses(words):
    lines = [line.strip() for line in help_of(words).splitlines()]
    examples = [line for line in lines if line.startswith(f"hicra {' '.join(words)}") and "Usage" not in line]
    assert examples or words == ("artifacts", "path")
    for example in examples:
        arguments = shlex.split(re.split(r" [>|]|  +", example)[0])[1 + len(words) :]
        command_of(words).make_context("hicra", arguments)  # raises where an option is unknown


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_groups_have_exactly_their_commands(group):
    assert list(command_of((group,)).commands) == GROUPS[group]
    for command in command_of((group,)).commands.values():
        assert not command.get_short_help_str(66).endswith("..."), command.name


def test_option_help_is_the_fields_description():
    parameter = Knob("--alpha", "train.alpha").parameter()
    (option,) = parameter.annotation.__metadata__
    assert option.help == "Planning amplification in A + alpha*|A|; 0 is plain GRPO. [train.alpha, default 0.2]"
    with pytest.raises(LookupError, match="no field"):
        Knob("--alpha", "train.alpah").parameter()


def test_an_option_given_reaches_its_field_under_its_own_name():
    assert Knob("--alpha", "train.alpha").settings("0.1") == [("train.alpha", "0.1", "--alpha")]
    assert Knob("--alpha", "train.alpha").settings(None) == []
    assert Knob("--bench", "eval.bench").settings(["a,b", "c"]) == [("eval.bench", ["a,b", "c"], "--bench")]
    assert Knob("--field", "collect.fields").settings(["response=text"]) == [
        ("collect.fields.response", "text", "--field response=text")
    ]


def test_the_top_level_says_what_there_is(tmp_path):
    done = hicra("--help", cwd=tmp_path, check=0)
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary.split()[0])}", done.stdout, re.MULTILINE)
    assert hicra("--version", cwd=tmp_path, check=0).stdout == "hicra 0.1.0\n"
    nothing = hicra(cwd=tmp_path, check=2)
    assert nothing.stdout == ""
    assert "Usage: hicra" in nothing.stderr
