"""Benchmarks from the hub: every set's layout as it is published, pinned, cached, refused. The hub is a real server."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hicra_cli.tasks.benchmark_specs import known_names, known_spec
from tests.tasks.hub_server import COMMIT, loaded, serving

# The fields of the published files and their types; the texts are made up. Beside each row what is read from it.
LAYOUTS = {
    "aime24": (
        {"ID": "2024-II-{n}", "Problem": "Find {n}.", "Solution": "It is \\boxed{{9}}.", "Answer": 25},
        ("my-aime24/2024-II-{n}", "Find {n}.", "25", {}),
    ),
    "aime25": ({"problem": "Find {n}.", "answer": "70", "id": "{n}"}, ("my-aime25/{n}", "Find {n}.", "70", {})),
    "amc23": (
        {"id": "{n}", "answer": 27.0, "url": "https://example.org/{n}", "question": "Find {n}."},
        ("my-amc23/{n}", "Find {n}.", "27", {}),
    ),
    "amc22_23": (
        {"id": "{n}", "problem": "Find {n}.", "answer": -1.0, "url": "https://example.org/{n}"},
        ("my-amc22_23/{n}", "Find {n}.", "-1", {}),
    ),
    "math500": (
        {
            "problem": "Find {n}.",
            "solution": "So $x = \\boxed{{\\frac12}}$.",
            "answer": "\\frac12",
            "subject": "Algebra",
            "level": 2,
            "unique_id": "test/algebra/{n}.json",
        },
        ("my-math500/test/algebra/{n}.json", "Find {n}.", "\\frac12", {}),
    ),
    "minerva": ({"question": "Find {n}.", "answer": "4.5e33"}, ("my-minerva/{n:05d}", "Find {n}.", "4.5e33", {})),
    "olympiad": (
        {
            "id": "{n}",
            "question": "Find {n}.",
            "solution": ["First one.", "Then another."],
            "final_answer": ["$69$,$84$"],
            "context": "Let $x$ be a number.",
            "image_1": None,
            "modality": "Text-only",
            "difficulty": "Competition",
            "is_multiple_answer": True,
            "unit": "km",
            "answer_type": "Numerical",
            "error": "1e-1",
            "question_type": "Open-ended",
            "subfield": "Algebra",
            "subject": "Math",
            "language": "English",
        },
        ("my-olympiad/{n}", "Let $x$ be a number.\nFind {n}.", "69,84", {"unit": "km", "tolerance": "1e-1"}),
    ),
    "gsm8k": (
        {"question": "Find {n}.", "answer": "It is <<1*1000=1000>>1000.\n#### 1,000"},
        ("my-gsm8k/{n:05d}", "Find {n}.", "1000", {}),
    ),
}
INTEGER_IDS = ("amc23", "amc22_23", "olympiad")


def filled(value, number):
    if isinstance(value, dict):
        return {key: filled(each, number) for key, each in value.items()}
    return value.format(n=number) if isinstance(value, str) and "{" in value else value


def rows_of(name, count):
    rows = [filled(LAYOUTS[name][0], number) for number in range(count)]
    return [{**row, "id": int(row["id"])} for row in rows] if name in INTEGER_IDS else rows


def expected_of(name, number):
    identifier, text, gold, facts = LAYOUTS[name][1]
    return [identifier.format(n=number), text.format(n=number), gold, facts]


def content_of(path, rows):
    if path.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def hub_of(name):
    hub = known_spec(name).hub
    assert hub is not None
    return hub


def published(name, *, count=None):
    """What the hub holds of a set: {(data set, path): content}."""
    hub = hub_of(name)
    rows = rows_of(name, count or known_spec(name).questions[0])
    return {(hub.dataset, path): content_of(path, rows) for path in hub.files or ["test.jsonl"]}


def commits():
    return {hub_of(name).dataset: hub_of(name).revision for name in LAYOUTS}


def unpinned_content(name, folder):
    """The shipped description under another name and without the sha256 of files, which the test makes up."""
    spec = known_spec(name).model_dump(mode="json")
    spec["hub"]["files"] = dict.fromkeys(spec["hub"]["files"])
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({**spec, "name": f"my-{name}", "rows_sha256": {}, "doubtful": []}))
    return str(path)


def test_every_set_of_the_hub_has_a_layout_here():
    assert sorted(LAYOUTS) == [name for name in known_names() if known_spec(name).hub is not None]


def test_every_set_is_read_from_the_hub_in_its_own_layout_at_its_pinned_commit(tmp_path):
    files = {key: content for name in LAYOUTS for key, content in published(name).items()}
    asked: list[tuple[str, dict[str, object]]] = [(unpinned_content(name, tmp_path), {}) for name in LAYOUTS]
    with serving(files, commits=commits()) as hub:
        found = loaded(asked, cache=tmp_path / "cache", hub=hub)
    again = loaded(asked, cache=tmp_path / "cache")  # offline: everything comes from the cache
    for name, told in zip(LAYOUTS, found, strict=True):
        count = known_spec(name).questions[0]
        assert "rows" in told, told
        assert len(told["rows"]) == count
        assert told["rows"] == [expected_of(name, number) for number in range(count)]
        assert told["revision"] == hub_of(name).revision
        assert told["warnings"] == []
    assert again == found
    pinned = {hub_of(name).revision for name in LAYOUTS}
    resolved = {path.split("/resolve/")[1].split("/")[0] for path in hub.asked if "/resolve/" in path}
    assert resolved == pinned


def test_a_file_that_is_not_the_published_one_is_refused_by_its_digest(tmp_path):
    with serving(published("math500"), commits=commits()) as hub:
        [told] = loaded([("math500", {})], cache=tmp_path, hub=hub)
    assert told["exit_code"] == 2
    assert "sha256" in told["what"]
    assert told["where"] == "HuggingFaceH4/MATH-500@6e4ed1a2a79a/test.jsonl"


def test_another_count_on_the_hub_is_refused_unless_accepted_and_another_gold_told(tmp_path):
    files = {**published("aime24", count=29), **published("minerva")}
    asked = [("aime24", {}), ("aime24", {"accept_other_data": True}), ("minerva", {})]
    with serving(files, commits=commits()) as hub:
        refused, accepted, other = loaded(asked, cache=tmp_path, hub=hub)
    assert "29 questions, the published set has 30" in refused["what"]
    assert "eval.accept_other_data" in refused["fix"]
    assert len(accepted["rows"]) == 29
    assert "29 questions" in accepted["warnings"][0]
    # the made-up golds are all 4.5e33, which is the gold of one question at most
    assert len(other["rows"]) == 272
    assert "with another gold than in the copy this was checked with" in " ".join(other["warnings"])


def test_a_gold_that_only_some_copies_have_wrong_is_in_doubt_there(tmp_path):
    rows = rows_of("olympiad", 674)
    rows[45] = {**rows[45], "id": 2045, "final_answer": ["$t(0,4]$"]}
    hub_source = hub_of("olympiad")
    [path] = hub_source.files
    with serving({(hub_source.dataset, path): content_of(path, rows)}, commits=commits()) as hub:
        [told] = loaded([("olympiad", {})], cache=tmp_path, hub=hub)
    assert told["rows"][45][0] == "olympiad/2045"
    assert told["doubtful"] == {"olympiad/2045": "(0,4]"}


def test_a_cached_file_is_not_asked_for_again(tmp_path):
    with serving(published("aime24"), commits=commits()) as hub:
        loaded([("aime24", {})], cache=tmp_path, hub=hub)
        first = len(hub.asked)
        assert first > 0
        loaded([("aime24", {})], cache=tmp_path, hub=hub)
        assert len(hub.asked) == first


def test_what_the_hub_refuses_is_told_with_the_remedy(tmp_path):
    refusals = {
        "Maxwell-Jia/AIME_2024": (403, "GatedRepo"),
        "math-ai/aime25": (404, "RepoNotFound"),
        "math-ai/amc23": (404, "RevisionNotFound"),
    }
    files = {("openai/gsm8k", "README.md"): b"moved"}
    asked: list[tuple[str, dict[str, object]]] = [(name, {}) for name in ("aime24", "aime25", "amc23", "gsm8k")]
    with serving(files, refusals=refusals, commits=commits()) as hub:
        told = loaded(asked, cache=tmp_path, hub=hub)
    gated, unknown, revision, file = (each["what"] for each in told)
    assert {each["exit_code"] for each in told} == {4}
    assert "gated" in gated
    assert "HF_TOKEN" in told[0]["fix"]
    assert "private or unknown" in unknown
    assert "no such revision" in revision
    assert "lacks a file" in file
    assert all("--data-dir" in each["fix"] for each in told)


@pytest.mark.parametrize(
    "manner",
    ["offline", "refused", "down", "silent", pytest.param("cut", marks=pytest.mark.slow)],  # the client tries again
)
def test_a_hub_that_does_not_deliver_is_told_soon_with_the_remedy(tmp_path, manner):
    # aime24 is read as files, minerva through `datasets`
    asked: list[tuple[str, dict[str, object]]] = [("aime24", {}), ("minerva", {})]
    if manner == "offline":
        found = loaded(asked, cache=tmp_path)
    elif manner == "refused":
        found = loaded(asked, cache=tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9")
    else:
        files = {**published("aime24"), **published("minerva")}
        with serving(files, commits=commits(), manner=manner) as hub:
            found = loaded(asked, cache=tmp_path, hub=hub, HF_HUB_DOWNLOAD_TIMEOUT="2")
    for told in found:
        assert told["exit_code"] == 4, told
        assert "cannot be reached" in told["what"]
        assert "--data-dir" in told["fix"]


def test_any_data_set_of_the_hub_is_a_benchmark(tmp_path):
    rows = [{"q": f"Find {n}.", "worked": f"So it is $\\boxed{{{n}}}$.", "key": f"k{n}"} for n in range(3)]
    card = b"---\nconfigs:\n- config_name: hard\n  data_files:\n  - split: dev\n    path: hard/dev.parquet\n---\n"
    files = {("some/set", "hard/dev.parquet"): content_of("x.parquet", rows), ("some/set", "README.md"): card}
    fields = {"problem": "q", "answer": "worked", "id": "key", "gold": "boxed"}
    asked = [
        ("hf:some/set:hard", {"fields": fields, "split": "dev"}),
        (f"hf:some/set:hard@{COMMIT}", {"fields": fields, "split": "dev", "limit": 1}),
        ("hf:some/set:hard", {"fields": fields}),
        (f"hf:some/set:hard@{'d' * 40}", {"fields": fields, "split": "dev"}),
    ]
    with serving(files) as hub:
        newest, pinned, other_split, gone = loaded(asked, cache=tmp_path, hub=hub)
    assert newest["name"] == "some-set-hard"
    assert newest["rows"] == [[f"k{n}", f"Find {n}.", str(n), {}] for n in range(3)]
    assert (pinned["revision"], len(pinned["rows"])) == (COMMIT, 1)
    assert (other_split["exit_code"], other_split["fix"]) == (2, "Check eval.split, or give a JSONL file")
    assert (gone["exit_code"], "no such revision" in gone["what"]) == (4, True)
