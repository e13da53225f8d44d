"""`hicra train` on a real terminal: the live view fits it, and obeys NO_COLOR."""

import re

import pytest

from tests.commands.terminal import Terminal

STYLE = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])")


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "no_color"), [(40, "1"), (100, "")])
def test_the_live_view_of_a_training_fits_its_terminal(tmp_path, columns, no_color):
    words = "train -c quickstart --steps 2 --num-prompts 2 --max-new-tokens 24 --eval-every 1 --threads 1"
    variables = {"NO_COLOR": no_color} if no_color else {}
    with Terminal(
        "-m",
        "hicra_cli",
        *words.split(),
        "--home",
        tmp_path,
        columns=columns,
        lines=40,
        HF_HUB_OFFLINE="1",
        **variables,
    ) as terminal:
        terminal.wait_for_written("2/2 · ")
        assert terminal.wait() == 0
        written = terminal.written
    live = written[written.index("train grpo") : written.rindex("train grpo")]
    lines = [STYLE.sub("", line).strip("\r") for line in live.split("\n")]
    # Each line of the view fits; a frame ends by moving up, so no line was wrapped by the terminal.
    view = [line for line in lines if re.match(r"(reward|evaluation|H planning|memory peak|grad norm) ", line)]
    assert view
    assert all(len(line) <= columns for line in view)
    for name in ("reward", "evaluation", "H execution", "planning", "tokens/s", "update s"):
        assert name in live
    colors = [each for each in STYLE.findall(live) if each[1] == "m" and re.search(r"(^|;)3[0-7]", each[0])]
    assert bool(colors) is not bool(no_color)
