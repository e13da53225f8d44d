"""From a folder of rollouts to a reviewed gram-set and a highlighted rollout, as the README tells it."""

import json
import re

from tests.commands.run_hicra import document, hicra

SAID = (
    "Let's break this down. Wait, let me check the sum again. It is 12.",
    "Another way to see this is by parity. Wait, let me check the sum again.",
    "Let's break this down. This means that we need 3 more. Wait, that's not right.",
)


def write_rollouts(folder):
    """Two files of six problems, three solutions each, of which the last is wrong."""
    folder.mkdir()
    for part in range(2):
        rows = [
            {"question": f"How many of {6 * part + at}?", "completion": text, "correct": number < 2}
            for at in range(6)
            for number, text in enumerate(SAID)
        ]
        path = folder / f"part{part}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_of_rollouts_becomes_a_reviewed_gram_set_and_a_page(tmp_path):
    write_rollouts(tmp_path / "runs")
    fields = ("--field", "problem=question", "--field", "response=completion")
    collected = document(hicra("collect-grams", "--rollouts", "runs", *fields, "--json", cwd=tmp_path, check=0))
    assert collected["metrics"]["solutions"] == 24
    assert collected["metrics"]["failures"] == 12

    hicra("annotate-grams", cwd=tmp_path, check=0)
    (tmp_path / "decisions.csv").write_text(
        "gram,decision,move,reason\nsee this is by,reject,,about one problem\nan odd way to,accept,branching,ours\n"
    )
    curated = hicra("curate", "--decisions", "decisions.csv", "--show", "1", "--json", cwd=tmp_path, check=0)
    gram_set = document(curated)
    (artifact,) = gram_set["artifacts"]
    assert gram_set["metrics"]["coverage/planning_pieces"] > 0.1

    listed = hicra("curate", "--decisions", "decisions.csv", "--export", "-", cwd=tmp_path, check=0).stdout
    assert "an odd way to\tbranching" in listed
    assert "see this is by" not in listed
    page = (tmp_path / artifact["path"] / "review.html").read_text()
    assert "about one problem" in page
    assert "<mark" in page
    assert not re.search(r"(?:src|href)=.?https?:", page)
