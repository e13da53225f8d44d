"""Both services, with a key and without a proxy."""

import pytest

from .asking import SECRET, VARIABLE


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    for variable in VARIABLE.values():
        monkeypatch.setenv(variable, SECRET)


@pytest.fixture(params=["gemini", "openai"])
def provider(request):
    return request.param
