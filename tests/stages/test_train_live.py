"""The live view: what it shows, at every width, and that foreign text cannot draw on the terminal."""

import io

import pytest
from rich.console import Console

from hicra_cli.core.dashboard import LiveBoard, sparkline
from hicra_cli.core.output import Output, clean
from hicra_cli.core.progress import Figure
from hicra_cli.stages.train.live import LiveView, figures, status

RECORD = {
    "step": 12,
    "reward/mean": 0.4375,
    "reward/accuracy": 0.40625,
    "response/length_mean_tokens": 123.4,
    "response/clipped_fraction": 0.125,
    "hicra/planning_fraction": 0.0312,
    "hicra/alpha": 0.2,
    "policy/token_entropy_planning_nats": 1.234,
    "policy/token_entropy_execution_nats": None,
    "groups/no_signal_fraction": 0.5,
    "policy/grad_norm": 0.0367,
    "policy/ratio_p99": 1.0,
    "policy/learning_rate": 3e-4,
    "time/tokens_per_s": 1234.5,
    "time/generate_s": 1.25,
    "time/credit_s": 0.01,
    "time/update_s": 0.5,
    "time/publish_s": 0.02,
    "time/step_s": 1.78,
    "memory/peak_bytes": 3 << 30,
}


class Kept:
    """A dashboard that keeps what it was told."""

    def __init__(self):
        self.told, self.shown, self.done = [], [], 0

    def advance(self, count=1, *, status=""):
        self.done += count

    def tell(self, activity):
        self.told.append(activity)

    def show(self, figures):
        self.shown = list(figures)


def test_the_figures_of_a_step_are_shown_with_their_trends():
    past = RECORD | {"reward/mean": 0.25, "step": 11}
    shown = {each.name: each for each in figures([past, RECORD], None)}
    assert shown["reward"] == Figure("reward", "0.438", (0.25, 0.4375))
    assert shown["accuracy"].text == "40.6%"
    assert shown["planning"].text == "3.12%"
    assert shown["H planning"].text == "1.234 nats"
    assert shown["H execution"] == Figure("H execution", "-", ())
    assert shown["generate s"].text == "1.25"
    assert shown["memory peak"].text == "3.00 GiB"
    assert "evaluation" not in shown


def test_the_last_evaluation_stays_in_view_with_its_step():
    dashboard = Kept()
    view = LiveView(dashboard, [RECORD | {"step": 10, "eval/accuracy": 0.5, "eval/low": 0.4, "eval/high": 0.6}])
    view.see(RECORD)
    shown = {each.name: each.text for each in dashboard.shown}
    assert shown["evaluation"] == "50.0% (40%-60%) @10"
    assert dashboard.done == 1


def test_finished_rollouts_are_counted_while_they_come():
    dashboard = Kept()
    count = LiveView(dashboard, []).count_rollouts("generate", 3)
    for _ in range(3):
        count(object())
    assert dashboard.told == [f"generate {done}/3 rollouts" for done in (1, 2, 3)]


def test_a_log_gets_the_step_in_one_line():
    assert status(RECORD) == "reward 0.438 · 123 tokens · planning 3.1% · 1.8 s/step"
    assert status(RECORD | {"eval/accuracy": 0.5}).endswith(" · evaluation 50.0%")


def test_a_sparkline_spans_its_values():
    assert sparkline([0.0, 7.0, 3.0]) == "▁█▄"
    assert sparkline([2.0, 2.0, 2.00000001]) == "▄▄▄"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width, unicode):
    board = LiveBoard("train hicra", 40, done=10, clean=clean, unicode=unicode)
    board.advance(2)
    board.tell("generate 31/256 rollouts")
    board.show(figures([RECORD] * 30, RECORD | {"eval/accuracy": 0.5, "eval/low": None, "eval/high": None}))
    lines = board.lines(width, now=board._started + 90.0)
    assert all(len(line.plain) <= width for line in lines)
    assert unicode or all("·" in text or text.isascii() for text in (line.plain for line in lines))
    if width == 100:
        # 2 of 30 steps in 90 s: 28 are left, at 45 s each
        assert "train hicra 12/40 · 1:30, 21:00 left" in lines[0].plain


def test_foreign_text_is_shown_as_it_is_and_cannot_move_the_cursor():
    board = LiveBoard("[red]x\x1b[2J", 4, done=0, clean=clean, unicode=True)
    board.show([Figure("[bold]a", "\x1b]0;title\x07[/]\nb")])
    stream = io.StringIO()
    console = Console(file=stream, width=80, markup=False, emoji=False, force_terminal=True, color_system=None)
    console.print(board)
    written = stream.getvalue()
    assert "[red]x" in written
    assert "[bold]a" in written
    assert "\x1b[2J" not in written
    assert "\x1b]0" not in written


def test_without_a_terminal_there_are_plain_lines_and_with_quiet_nothing():
    for quiet in (False, True):
        talk = io.StringIO()
        output = Output(results=io.StringIO(), talk=talk, quiet=quiet)
        with output.dashboard("train x", 3, done=1) as board:
            board.show([Figure("reward", "0.5")])
            board.tell("generate")
            if not quiet:
                board._spoken -= 10.0  # type: ignore[attr-defined]  # a line is due
            board.advance(1, status="reward 0.5")
        said = talk.getvalue()
        assert ("train x: 2/3" in said and "reward 0.5" in said) is not quiet
        assert not quiet or said == ""
