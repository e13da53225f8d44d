"""A user's reward function: real worker processes, functions that misbehave in every way a function can."""

import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, RunError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.function_worker import NoReward, read_result
from hicra_cli.grading.functions import find_function, reward_digest
from hicra_cli.grading.rewards import RewardCall, RewardPool, failure_summary

SIGNATURE = "(prompt, response, answer, metadata, truncated)"
files = itertools.count()


def source(folder, body, *, name="score", before=""):
    path = folder / f"reward{next(files)}.py"
    text = f"{textwrap.dedent(before)}\ndef {name}{SIGNATURE}:\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    path.write_text(text)
    return path


def pool_of(path, *, name="score", **settings):
    defaults = {"grader_timeout_s": 0.5, "reward_deadline_s": 2.0, "max_failed_fraction": 1.0}
    return RewardPool(TaskConfig(reward=f"{path}:{name}", **{**defaults, **settings}))


def call(response="r", *, truncated=False, **fields):
    return RewardCall(f"q sample {response}", "question", response, "42", truncated, fields)


def judge(folder, body, *calls, before="", **settings):
    with pool_of(source(folder, body, before=before), **settings) as pool:
        return pool.verdicts(calls or [call()])


def test_the_function_gets_everything_that_is_known_of_a_response(tmp_path):
    body = """
        assert (prompt, answer, truncated, metadata) == ("question", "42", True, {"level": 5, "tags": ["a", None]})
        return len(response), "wrong"
    """
    verdicts = judge(tmp_path, body, call("four", truncated=True, level=5, tags=["a", None]))
    assert verdicts == [Verdict(4.0, Outcome.WRONG)]


def test_verdicts_come_in_order_from_several_workers(tmp_path):
    body = "import time; time.sleep(0.02 * (int(response) % 3)); return int(response) / 10"
    verdicts = judge(tmp_path, body, *(call(str(number)) for number in range(24)), grader_workers=2)
    assert [each.reward for each in verdicts] == [number / 10 for number in range(24)]


@pytest.mark.parametrize(
    ("returned", "truncated", "expected"),
    [
        (1, False, (1.0, "correct", "")),
        (True, False, (1.0, "correct", "")),
        (np.float32(0.5), False, (0.5, "correct", "")),
        (Decimal("0.25"), True, (0.25, "correct", "")),
        (0, False, (0.0, "wrong", "")),
        (0.0, True, (0.0, "truncated", "")),
        (-1, True, (-1.0, "wrong", "")),
        ((0.3, "no_answer"), False, (0.3, "no_answer", "")),
        ({"reward": 0, "detail": "no proof"}, False, (0.0, "wrong", "no proof")),
        ({"reward": 2, "outcome": Outcome.TIMEOUT, "detail": "judge"}, False, (2.0, "timeout", "judge")),
    ],
)
def test_numbers_pairs_and_dicts_are_rewards(returned, truncated, expected):
    found = read_result(returned, truncated=truncated)
    assert (found["reward"], found["outcome"], found["detail"]) == expected


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (math.nan, "returned nan"),
        (-math.inf, "returned -inf"),
        (1e39, "returned 1e+39"),
        (10**400, "no number"),
        ("1", "returned '1', no number"),
        (None, "returned None, no number"),
        (1j, "no number"),
        ([], "returned 0 values"),
        ((1, "right"), "the outcome 'right'"),
        ({"score": 1}, "a dict with ['score']"),
        ({"reward": None}, "returned None"),
        (np.zeros(3), "no number"),
    ],
)
def test_what_is_no_reward_is_named(returned, said):
    with pytest.raises(NoReward) as failure:
        read_result(returned, truncated=False)
    assert said in str(failure.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=7), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, st.booleans())
def test_whatever_comes_back_is_a_finite_reward_or_refused(returned, truncated):
    try:
        found = read_result(returned, truncated=truncated)
    except NoReward:
        return
    assert np.isfinite(np.float32(found["reward"]))
    assert found["outcome"] in set(Outcome)


BEHAVIOURS = {
    "hang": ("while True: pass", Outcome.TIMEOUT, "0.5 s of processor time"),
    "sleep": ("import time; time.sleep(60)", Outcome.TIMEOUT, "2 s (task.reward_deadline_s)"),
    "raise": ("raise ValueError('first\\nsecond')", Outcome.ERROR, "ValueError: first (reward"),
    "exit": ("import sys; sys.exit(3)", Outcome.ERROR, "SystemExit: 3"),
    "nan": ("return float('nan')", Outcome.ERROR, "returned nan"),
    "text": ("return '1'", Outcome.ERROR, "returned '1', no number"),
    "nothing": ("return None", Outcome.ERROR, "returned None"),
    "die": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Outcome.ERROR, "status -9"),
    "memory": ("return len(bytes(8 << 30))", Outcome.ERROR, "0.5 GiB (task.reward_memory_gib)"),
    "stdin": ("return 1 + len(input())", Outcome.ERROR, "EOFError"),
    "deep": ("return score(prompt, response, answer, metadata, truncated)", Outcome.ERROR, "RecursionError"),
    "unprintable": ("class E(Exception): __str__ = None\nraise E", Outcome.ERROR, "E ("),
}


def test_every_misbehaviour_has_its_outcome_and_the_next_call_is_judged(tmp_path):
    lines = [f"if response == {name!r}:\n{textwrap.indent(body, '    ')}" for name, (body, *_) in BEHAVIOURS.items()]
    body = "\n".join([*lines, "return 1"])
    calls = [each for name in BEHAVIOURS for each in (call(name), call("fine"))]
    verdicts = judge(tmp_path, body, *calls, reward_memory_gib=0.5)
    for (name, (_, outcome, detail)), verdict in zip(BEHAVIOURS.items(), verdicts[::2], strict=True):
        assert (verdict.reward, verdict.outcome) == (0.0, outcome), name
        assert detail in verdict.detail, name
    assert verdicts[1::2] == [Verdict(1.0, Outcome.CORRECT)] * len(BEHAVIOURS)


def test_an_error_says_its_first_line_and_the_place_in_the_functions_file(tmp_path):
    path = source(tmp_path, "first = 1\nreturn json.loads('{')", before="import json")  # loads stands in line 4
    with pool_of(path) as pool:
        detail = pool.verdicts([call()])[0].detail
    assert detail.startswith("JSONDecodeError: Expecting property name")
    assert detail.endswith(f"({path.name}:4)")


def test_memory_that_leaks_ends_a_worker_and_not_a_verdict(tmp_path):
    # Each call keeps 200 MB and a worker may take 512 MB, so that every third call meets a full worker.
    verdicts = judge(
        tmp_path,
        "kept.append(bytearray(200_000_000)); return 1",
        *(call(str(number)) for number in range(7)),
        before="kept = []",
        reward_memory_gib=0.5,
        grader_timeout_s=5,
        reward_deadline_s=20,
    )
    assert [each.outcome for each in verdicts] == [Outcome.CORRECT] * 7


def test_what_a_function_prints_disturbs_nobody(tmp_path, capfd):
    body = "print('{\"equal\": 1}', flush=True); import os; os.write(1, b'x\\n'); return 1"
    assert judge(tmp_path, body)[0].outcome is Outcome.CORRECT
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("response", ["\ud800", "\x00\x1b[2J\n{", "ü" * 300_000])
def test_any_response_reaches_the_function_as_it_is(tmp_path, response):
    codes = f"return float(len(response) == {len(response)} and ord(response[0]) == {ord(response[0])})"
    assert judge(tmp_path, codes, call(response))[0].reward == 1.0


def test_a_long_response_for_a_worker_that_stands_still_is_a_timeout(tmp_path):
    with pool_of(source(tmp_path, "return 1")) as pool:
        os.kill(pool._crew.workers[0].process.pid, signal.SIGSTOP)
        verdicts = pool.verdicts([call("x" * 1_000_000), call()])
    assert [each.outcome for each in verdicts] == [Outcome.TIMEOUT, Outcome.CORRECT]


def test_a_worker_and_its_children_end_with_their_parent(tmp_path):
    body = "import subprocess; subprocess.Popen(['sleep', '600']); import time; time.sleep(600)"
    path = source(tmp_path, body)
    program = (
        "import sys; from tests.grading.test_functions import pool_of, call\n"
        f"pool = pool_of({str(path)!r}, reward_deadline_s=500.0).__enter__()\n"
        "print(pool._crew.workers[0].process.pid, flush=True)\n"
        "pool.verdicts([call()])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _group_lives(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(group)


def _group_lives(group):
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == str(group) and "Z" not in line for line in listed.splitlines())


def test_the_run_stops_where_too_many_calls_fail_and_says_which(tmp_path):
    path = source(tmp_path, "return 1 if int(response) % 5 else 1 / 0")
    calls = [call(str(number)) for number in range(40)]
    with pool_of(path, max_failed_fraction=0.2) as pool:
        # 0, 5 … 35 fail: 8 of 40 are not more than a fifth
        assert sum(each.outcome is Outcome.ERROR for each in pool.verdicts(calls)) == 8
    with pool_of(path, max_failed_fraction=0.1) as pool, pytest.raises(RunError) as failure:
        pool.verdicts(calls)
    assert failure.value.what.startswith("the reward function failed on 5 of 40 responses")
    assert "q sample 0: error: ZeroDivisionError: division by zero" in failure.value.what
    assert failure.value.where == str(path)


def test_failures_are_summed_up_by_reason():
    timeout, error = (
        Verdict(0.0, outcome, detail=f"{outcome} at f.py:3") for outcome in (Outcome.TIMEOUT, Outcome.ERROR)
    )
    fine = Verdict(1.0, Outcome.CORRECT)
    assert failure_summary([fine] * 3) is None
    assert failure_summary([error, fine, timeout, error]) == (
        "3 of 4 responses could not be judged and count as reward 0: 2 x error: error at f.py:3; "
        "1 x timeout: timeout at f.py:3"
    )


def test_small_batches_are_judged_together(tmp_path):
    # 4 calls of which one fails: after five batches 5 of 20 have failed, more than a fifth
    path = source(tmp_path, "return 1 if int(response) else 1 / 0")
    calls = [call(str(number)) for number in range(4)]
    with pool_of(path, max_failed_fraction=0.2) as pool:
        for _ in range(4):
            pool.verdicts(calls)
        with pytest.raises(RunError, match="5 of 20"):
            pool.verdicts(calls)


def test_a_hanging_function_stops_the_run_before_every_call_has_hung(tmp_path):
    started = time.monotonic()
    with pool_of(source(tmp_path, "while True: pass"), max_failed_fraction=0.05) as pool, pytest.raises(RunError):
        pool.verdicts([call(str(number)) for number in range(60)])  # the fourth is one too many
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def score(prompt, response): return 1", "unexpected keyword argument 'answer'"),
        ("def score(prompt, response, answer, metadata, truncated, extra): return 1", "required argument: 'extra'"),
        ("async def score(**told): return 1", "async"),
        ("score = 3", "it is int, not a function"),
        ("def other(**told): return 1", "has no score"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("def score(:", "SyntaxError"),
        ("import sys; sys.exit('not today')", "SystemExit: not today"),
        ("import os; os._exit(5)", "status 5"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_before_anything_is_judged(tmp_path, text, said):
    path = tmp_path / "reward.py"
    path.write_text(f"\n{text}\n")
    with pytest.raises(ConfigError) as failure, pool_of(path):
        raise AssertionError("entered")
    assert said in failure.value.what
    assert (failure.value.where or "").startswith(str(path))
    assert failure.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.py:score", "there is no file"),
        ("no_such_module_at_all:score", "there is no module 'no_such_module_at_all'"),
        ("json.no_such:score", "json has no module json.no_such"),
        ("json.decoder.deep:score", "json.decoder has no module"),
        ("math:sqrt", "no source file"),
        ("json:", "names no function"),
        (":score", "names no function"),
        ("json:1+1", "names no function"),
        ("no-such-name", "no installed package offers a reward 'no-such-name'"),
    ],
)
def test_a_name_without_a_function_behind_it_is_refused(text, said):
    with pytest.raises(ConfigError) as failure:
        find_function(text)
    assert said in failure.value.what
    assert failure.value.where == "task.reward"


def test_finding_a_function_imports_none_of_its_packages(tmp_path, monkeypatch):
    package = tmp_path / "loud" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "loud" / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "rewards.py").write_text("def score(**told): return 1")
    monkeypatch.chdir(tmp_path)
    assert find_function("loud.inner.rewards:score").path == package / "rewards.py"
    assert "loud" not in sys.modules


def test_modules_of_the_current_folder_and_their_neighbours_are_found(tmp_path, monkeypatch):
    (tmp_path / "neighbour.py").write_text("VALUE = 0.5")
    (tmp_path / "own_rewards.py").write_text("import neighbour\nclass A:\n  def f(**told): return neighbour.VALUE\n")
    monkeypatch.chdir(tmp_path)
    for reward in ("own_rewards:A.f", "own_rewards.py:A.f"):
        with RewardPool(TaskConfig(reward=reward)) as pool:
            assert pool.verdicts([call()])[0].reward == 0.5


def test_a_module_whose_name_is_taken_is_not_confused_with_the_other(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("def score(**told): return 1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="taken by"), RewardPool(TaskConfig(reward="json:score")):
        raise AssertionError("entered")


def test_an_installed_package_offers_its_reward_by_name(tmp_path):
    (tmp_path / "acme_rewards.py").write_text("def f(**told): return 0.75\n")
    (tmp_path / "acme-1.0.dist-info").mkdir()
    (tmp_path / "acme-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (tmp_path / "acme-1.0.dist-info" / "entry_points.txt").write_text("[hicra.rewards]\nacme-f = acme_rewards:f\n")
    program = (
        "from hicra_cli.config.task import TaskConfig\n"
        "from hicra_cli.core.errors import ConfigError\n"
        "from hicra_cli.grading.functions import find_function\n"
        "from hicra_cli.grading.rewards import RewardPool\n"
        "from tests.grading.test_functions import call\n"
        "with RewardPool(TaskConfig(reward='acme-f')) as pool: print(pool.verdicts([call()])[0].reward)\n"
        "try: find_function('acme-g')\n"
        "except ConfigError as error: print(error.fix)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[0] == "0.75", done.stderr
    assert "Did you mean acme-f?" in done.stdout


def test_the_digest_names_the_source(tmp_path):
    path = source(tmp_path, "return 1")
    task = TaskConfig(reward=f"{path}:score")
    first = reward_digest(task)
    path.write_text(path.read_text() + "# changed\n")
    assert first is not None
    assert reward_digest(task) not in (first, None)
    assert reward_digest(TaskConfig()) is None


def test_a_file_that_changes_while_the_run_goes_on_is_noticed(tmp_path):
    path = source(tmp_path, "return 1 / int(response)")
    with pool_of(path) as pool:
        assert pool.verdicts([call("1")])[0].reward == 1.0
        path.write_text(path.read_text().replace("1 /", "2 /"))
        assert pool.verdicts([call("1")])[0].reward == 1.0  # the worker has the old one
        pool.close()
        with pytest.raises(RunError, match="was changed"):
            pool.verdicts([call("1")])


def test_a_function_may_read_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "0.25")
    assert judge(tmp_path, "import os; return float(os.environ['JUDGE_KEY'])")[0].reward == 0.25
