"""The README's command lines are understood, its files and presets exist, its Python runs."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from hicra_cli.app import app
from hicra_cli.config.presets import preset_names

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"(?:^    |`)(hicra [^`\n]*)", README, flags=re.MULTILINE)
COMMANDS = [line.split("  #")[0].strip() for line in SHOWN if not re.search(r"[|…]|NAME|PIPELINE|--help", line)]


def test_the_readme_shows_commands():
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_is_understood(line):
    _, *words = shlex.split(line)
    command = typer.main.get_command(app)
    while words and not words[0].startswith("-") and hasattr(command, "get_command"):
        name = words.pop(0)
        command = command.get_command(typer.Context(command), name)
        assert command is not None, f"hicra knows no {name}"
    command.make_context(line, words)  # parses and converts, runs nothing


def test_presets_and_files_of_the_readme_exist():
    presets = re.findall(r"-c ([a-z0-9.-]+)", README)
    assert presets
    assert set(presets) <= set(preset_names())
    for path in re.findall(r"(?:examples|docs)/[\w./-]+", README):
        assert (Path(__file__).parent.parent / path).is_file(), path
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert (Path(__file__).parent.parent / Path(*module.split("."))).with_suffix(".py").is_file(), module


def test_a_command_that_does_not_exist_would_be_noticed():
    with pytest.raises(Exception, match="--alhpa"):
        test_a_command_of_the_readme_is_understood("hicra train --alhpa 0.2")
