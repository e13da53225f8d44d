"""`hicra train` with a reward of the user's own, as a shell sees it."""

import pytest

from tests.commands.run_hicra import ROOT, document, hicra

SMALL = [
    word
    for setting in ("train.steps=1", "train.num_prompts=6", "train.group_size=4", "train.sampling.max_new_tokens=32")
    for word in ("--set", setting)
]


def train(folder, reward, check):
    done = hicra(
        "train", "-c", "quickstart", *SMALL, "--set", f"task.reward={reward}", "--json", cwd=folder, check=check
    )
    return document(done)


@pytest.mark.slow
def test_the_example_trains(tmp_path):
    found = train(tmp_path, f"{ROOT}/examples/reward_function.py:brief_and_right", 0)
    assert found["artifacts"][0]["ref"].startswith("training:")


def test_each_way_to_be_wrong_has_its_exit_code_and_says_where(tmp_path):
    (tmp_path / "own.py").write_text("\n\ndef raises(**told):\n    return told['reply']\n")
    missing = train(tmp_path, "own.py:absent", 2)["error"]
    assert missing["what"] == "the reward function own.py:absent: own.py has no absent"
    failing = train(tmp_path, "own:raises", 1)["error"]
    assert "KeyError: 'reply' (own.py:4)" in failing["what"]
    assert failing["where"] == str(tmp_path / "own.py")
