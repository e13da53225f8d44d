"""`hicra eval --engine openai` as a user runs it: against a server, interrupted, gone on with."""

import json
import signal
import subprocess
import sys
import time

from tests.commands.run_hicra import clean_environment, document, hicra
from tests.engine.completion_service import MODEL, completion, listing, models
from tests.grams.annotators.service_server import Response, service_server

KEY = "sk-test-key-that-must-never-be-seen"


def silent_about_tokens(request):
    """What servers other than vLLM answer: a text."""
    text = f"i give up {request.body['seed'] % 1000}"
    return Response(body=json.dumps(completion(request, token_ids=None, prompt_token_ids=None, text=text)).encode())


def command(server, *more):
    settings = [f"engine.base_url={server.base_url}/v1", f"engine.model={MODEL}", "engine.concurrency=2",
                "eval.countdown_questions=20"]  # fmt: skip
    return [
        "eval",
        "--engine",
        "openai",
        *(word for each in settings for word in ("--set", each)),
        "--samples",
        "2",
        *more,
    ]


def asked(server):
    return [(tuple(each.body["prompt"]), each.body["seed"]) for each in server.requests if each.body]


def test_a_served_model_is_evaluated_and_the_evaluation_says_which(tmp_path):
    with service_server([], listing(silent_about_tokens)) as server:
        done = hicra(*command(server, "--json"), cwd=tmp_path, check=0, OPENAI_API_KEY=KEY)
        assert len(asked(server)) == 40
    found = document(done)
    assert any("told no token ids of 40 responses" in each for each in found["warnings"])
    folder = next((tmp_path / ".hicra" / "artifacts").rglob("summary.json")).parent
    engine = json.loads((folder / "summary.json").read_text())["engine"]
    assert (engine["name"], engine["model"], engine["version"]) == ("openai", MODEL, None)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 40
    assert {row["outcome"] for row in rows} == {"no_answer"}
    assert all(row["text"] == f"i give up {row['seed'] % 2**31 % 1000}" for row in rows)
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in everything)
    assert KEY not in done.stdout + done.stderr


def test_interrupted_and_killed_it_asks_for_nothing_twice(tmp_path):
    def slowly(request):
        time.sleep(0.05)
        return silent_about_tokens(request)

    with service_server([], listing(slowly)) as server:
        for sent, end in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
            before = len(asked(server))
            process = subprocess.Popen(
                [sys.executable, "-m", "hicra_cli", *command(server, "--resume")], cwd=tmp_path,
                env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            while len(asked(server)) < before + 9:
                time.sleep(0.01)
                assert process.poll() is None
            process.send_signal(sent)
            _, told = process.communicate(timeout=60)
            assert process.returncode == end, told
        kept = len(asked(server))
        hicra(*command(server, "--resume"), cwd=tmp_path, check=0)
        # At most the two in flight when the run ended are asked for again, each time.
        assert len(set(asked(server))) == 40
        assert len(asked(server)) <= 40 + 4
        assert kept < 40


def test_a_server_that_fails_for_good_ends_with_its_own_exit_code(tmp_path):
    refusal = Response(401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode())
    with service_server([], listing(lambda request: refusal, answer=models())) as server:
        done = hicra(*command(server, "--json"), cwd=tmp_path, check=4, OPENAI_API_KEY=KEY)
    error = document(done)["error"]
    assert error["kind"] == "service"
    assert "401 bad key [OPENAI_API_KEY]" in error["what"]
    assert KEY not in done.stdout + done.stderr
