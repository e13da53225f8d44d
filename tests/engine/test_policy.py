"""Loading a policy: what a directory must hold, what is refused, and a hub that does not answer."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from hicra_cli.core.errors import ArtifactError, HicraError, UsageError
from hicra_cli.engine.policy import load_policy, read_context, read_stop_ids
from tests.engine.tiny_models import VOCABULARY, save_tiny_policy, tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def policy(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "policy")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refusal(path: Path | str) -> HicraError:
    with pytest.raises(HicraError) as caught:
        load_policy(path, dtype=torch.float32)
    assert caught.value.fix
    return caught.value


def test_a_saved_policy_is_loaded_as_it_was(policy: Path):
    loaded = load_policy(policy, dtype=torch.float32)
    assert loaded.path == policy
    assert not loaded.model.training
    assert loaded.tokenizer.decode(loaded.tokenizer("two words")["input_ids"]) == "two words"
    for name, tensor in tiny_model().state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name])


def test_weights_are_converted_to_the_wanted_precision(policy: Path):
    assert next(load_policy(str(policy), dtype=torch.bfloat16).model.parameters()).dtype is torch.bfloat16


@pytest.mark.parametrize(("named", "expected"), [(1, (1,)), ([7, 3], (1, 3, 7)), (None, (1,))])
def test_stop_ids_are_those_of_generation_config_and_tokenizer(policy: Path, named: object, expected: tuple[int, ...]):
    edit(policy / "generation_config.json", eos_token_id=named)
    loaded = load_policy(policy, dtype=torch.float32)
    assert loaded.stop_ids == read_stop_ids(policy, loaded.tokenizer) == expected


def test_a_policy_that_could_never_end_a_response_is_refused(policy: Path):
    (policy / "generation_config.json").unlink()
    edit(policy / "config.json", eos_token_id=None)
    edit(policy / "tokenizer_config.json", eos_token=None)
    assert "no response would end" in refusal(policy).what


def test_a_directory_without_tokenizer_is_refused(policy: Path):
    (policy / "tokenizer.json").unlink()
    error = refusal(policy)
    assert "no tokenizer" in error.what
    assert (error.exit_code, error.where) == (2, str(policy))


def test_a_directory_without_weights_is_refused(policy: Path):
    (policy / "model.safetensors").unlink()
    assert "holds no weights" in refusal(policy).what
    (policy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pickled (pytorch_model.bin)" in refusal(policy).what


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_brings_code_is_refused(policy: Path, name: str):
    edit(policy / name, auto_map={"AutoModelForCausalLM": "evil.Model"})
    (policy / "evil.py").write_text("raise SystemExit('executed')")
    error = refusal(policy)
    assert "auto_map" in error.what
    assert error.exit_code == 2


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path):
    assert "config.json is missing" in refusal(tmp_path).what


def test_broken_json_is_named_with_its_file(policy: Path):
    (policy / "config.json").write_text("{oops")
    error = refusal(policy)
    assert "config.json is not JSON" in error.what
    assert error.where == str(policy / "config.json")
    (policy / "config.json").write_text("[]")
    assert "not a JSON object" in refusal(policy).what


def test_an_unknown_architecture_is_refused(policy: Path):
    edit(policy / "config.json", model_type="no-such-model", architectures=["NoSuchModel"])
    assert "cannot be loaded" in refusal(policy).what


def test_damaged_weights_are_refused(policy: Path):
    weights = policy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert "the model cannot be loaded" in refusal(policy).what


def test_weights_that_do_not_hold_every_tensor_are_refused_instead_of_invented(policy: Path):
    edit(policy / "config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3)
    error = refusal(policy)
    assert "11 tensors are missing, first model.layers.2" in error.what


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path):
    path = save_tiny_policy(tmp_path / "small", vocab_size=VOCABULARY - 1)
    assert f"tokenizer knows {VOCABULARY} tokens but the model's embedding only {VOCABULARY - 1}" in refusal(path).what


@pytest.mark.parametrize("text", ["./nowhere", "/no/such/dir", "nowhere", "a/b/c", "~/nowhere-at-all"])
def test_a_path_that_does_not_exist_is_no_hub_id(text: str):
    error = refusal(text)
    assert isinstance(error, UsageError)
    assert "does not exist" in error.what


def test_a_file_is_no_policy(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "is a file" in refusal(tmp_path / "model.gguf").what


def hub_process(endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The hub's address is read when its library is imported, so each hub needs a process of its own."""
    code = (
        "import torch\n"
        "from hicra_cli.core.errors import HicraError\n"
        "from hicra_cli.engine import policy\n"
        "policy._HUB_TIMEOUT_S = 1.0\n"
        "try:\n"
        "    print(policy.load_policy('someone/some-model', dtype=torch.float32).path)\n"
        "except HicraError as error:\n"
        "    print(type(error).__name__, '|', error)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )


@pytest.mark.parametrize("answers", [True, False], ids=["refuses", "never answers"])
def test_a_hub_that_cannot_be_reached_is_an_error_within_a_bounded_time(tmp_path: Path, answers: bool):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answers:
            server.close()
        started = time.monotonic()
        done = hub_process(f"http://127.0.0.1:{port}", tmp_path)
    assert done.stdout.startswith(ArtifactError.__name__), done.stderr[-2000:]
    assert "not in the local cache and the hub cannot be reached" in done.stdout
    # Importing torch and transformers is most of it; without a limit it would wait for ever.
    assert time.monotonic() - started < 60


def test_a_model_in_the_local_cache_needs_no_hub(saved: Path, tmp_path: Path):
    model = tmp_path / "hub" / "models--someone--some-model"
    shutil.copytree(saved, model / "snapshots" / ("a" * 40))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    done = hub_process("http://127.0.0.1:9", tmp_path)
    assert done.stdout.strip() == str(model / "snapshots" / ("a" * 40)), done.stderr[-2000:]


def test_a_model_the_hub_does_not_have_is_said_to_be_missing(tmp_path: Path):
    answer = b"HTTP/1.1 404 Not Found\r\nX-Error-Code: RepoNotFound\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        done = hub_process(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path)
    assert "ArtifactError | there is no model someone/some-model on the hub" in done.stdout, done.stderr[-2000:]


def test_the_context_is_read_without_the_model(policy: Path):
    for weights in policy.glob("*.safetensors"):
        weights.unlink()
    assert read_context(policy) == 128
    edit(policy / "config.json", max_position_embeddings=0)
    assert read_context(policy) == 1 << 30


WRONG_TYPE = '{"model_type": "qwen3", "max_position_embeddings": "many"}'


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "unheard-of"}', "{}", WRONG_TYPE])
def test_a_context_that_cannot_be_read_is_a_failure_with_a_remedy(policy: Path, content: str | None):
    (policy / "config.json").unlink()
    if content is not None:
        (policy / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json cannot be read") as caught:
        read_context(policy)
    assert caught.value.where == str(policy)


def test_a_field_of_the_wrong_type_is_a_failure_with_a_remedy(policy: Path):
    edit(policy / "config.json", max_position_embeddings="many")
    assert "max_position_embeddings" in refusal(policy).what
