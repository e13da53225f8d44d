"""A ceiling of cost that holds, and costs that are counted by the service's own figures."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.annotate_service import ServiceConfig
from hicra_cli.core.errors import ConfigError, ServiceError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.grams.annotators.budget import Budget
from hicra_cli.grams.annotators.prices import Price, Usage, price_of
from hicra_cli.grams.annotators.service import build_service

from .asking import EXPECTED, GRAMS, LEDGER, built, candidates, moves, settings
from .service_server import Response, failing, good, service_server

PRICES: dict[str, Any] = {"input_price": 1.0, "output_price": 10.0}
# An answer of the server: 100 tokens in at $1 and 75 out (50 + 25 of thought) at $10 a million
ANSWER_COST = (100 * 1.0 + 75 * 10.0) / 1e6


def test_tokens_and_cost_are_counted_with_thoughts(provider, tmp_path):
    with service_server() as server:
        annotator = built(provider, server, tmp_path, **PRICES)
        list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    spent = annotator.spent
    assert (spent.requests, spent.input_tokens, spent.output_tokens) == (2, 200, 150)
    assert spent.cost == pytest.approx(2 * ANSWER_COST)
    assert spent.lost_cost == 0.0


def test_an_unusable_answer_is_paid_and_a_refused_request_is_not(provider, tmp_path):
    def cut_text(request) -> Response:
        return Response(body=good(request).body.replace(b"confidence", b"confidenc"))

    with service_server([cut_text, failing(500), failing(429)]) as server:
        annotator = built(provider, server, tmp_path, **PRICES)
        list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    assert annotator.spent.requests == 5
    assert annotator.spent.cost == pytest.approx(3 * ANSWER_COST)
    assert annotator.spent.lost_cost == 0.0


def test_an_answer_lost_on_the_way_may_have_been_paid(provider, tmp_path):
    with service_server([lambda request: Response(body=good(request).body, cut_at=9)]) as server:
        annotator = built(provider, server, tmp_path, max_output_tokens=1000, **PRICES)
        list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    assert annotator.spent.cost == pytest.approx(2 * ANSWER_COST)
    assert 0.01 < annotator.spent.lost_cost < 0.03  # 1000 tokens at $10 a million, and some thousand at $1


def test_the_next_request_is_not_sent_when_it_could_exceed_the_ceiling(provider, tmp_path):
    # at worst a request costs a little more than 1000 output tokens: $0.01 to $0.02; so one fits into $0.02
    limits: dict[str, Any] = {**PRICES, "max_output_tokens": 1000, "max_cost": 0.02}
    with service_server() as server:
        annotator = built(provider, server, tmp_path, batch_size=1, **limits)
        with pytest.raises(ServiceError, match="ceiling") as failure:
            list(annotator.annotate(candidates(*(f"let us try {at}" for at in range(40))), SilentProgress()))
    assert failure.value.exit_code == 4
    assert "--resume" in str(failure.value)
    assert annotator.spent.cost is not None
    assert 0 < annotator.spent.cost <= 0.02
    assert annotator.spent.requests == len(server.requests) < 40


def test_requests_in_flight_share_the_ceiling_and_the_rest_goes_on_after_raising_it(provider, tmp_path):
    limits: dict[str, Any] = {**PRICES, "max_output_tokens": 1000}
    grams = [f"let us try {at}" for at in range(20)]
    with service_server() as server:
        poor = built(provider, server, tmp_path, batch_size=1, concurrency=8, max_cost=0.02, **limits)
        with pytest.raises(ServiceError, match="ceiling"):
            list(poor.annotate(candidates(*grams), SilentProgress()))
        sent = len(server.requests)
        rich = built(provider, server, tmp_path, batch_size=1, concurrency=8, max_cost=1.0, **limits)
        assert [each.gram for each in rich.annotate(candidates(*grams), SilentProgress())] == grams
    assert 0 < sent < 20
    assert len(server.requests) == 20
    assert rich.spent.cost == pytest.approx(20 * ANSWER_COST)


def test_a_resumed_run_counts_what_was_spent_before(provider, tmp_path):
    with service_server() as server:
        config = settings(provider, server, max_output_tokens=1000, max_cost=1.0, **PRICES)
        first = Budget(1.0)
        annotator = build_service(provider, config, ledger=tmp_path / LEDGER, seed=0, vote=0, budget=first)
        assert moves(list(annotator.annotate(candidates(*GRAMS), SilentProgress()))) == EXPECTED
        again = Budget(1.0)
        build_service(provider, config, ledger=tmp_path / LEDGER, seed=0, vote=0, budget=again)
    assert first.charged == pytest.approx(2 * ANSWER_COST)
    assert again.charged == pytest.approx(2 * ANSWER_COST)


def test_a_ceiling_without_a_price_is_refused(provider, tmp_path):
    with service_server() as server, pytest.raises(ConfigError, match="price of"):
        built(provider, server, tmp_path, max_cost=1.0)


def test_without_a_price_tokens_are_counted_and_cost_is_none(provider, tmp_path):
    with service_server() as server:
        annotator = built(provider, server, tmp_path)
        list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    assert annotator.spent.output_tokens == 150
    assert annotator.spent.cost is None


def test_a_service_that_tells_no_usage_is_charged_its_worst_case(provider, tmp_path):
    def silent(request) -> Response:
        body = json.loads(good(request).body)
        body.pop("usage", None)
        body.pop("usageMetadata", None)
        return Response(body=json.dumps(body).encode())

    with service_server(otherwise=silent) as server:
        annotator = built(provider, server, tmp_path, max_output_tokens=1000, **PRICES)
        list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    assert annotator.spent.cost is not None
    assert annotator.spent.cost > 2 * 0.01


@pytest.mark.parametrize(
    ("name", "model", "address", "expected"),
    [
        ("gemini", "gemini-2.5-flash", "https://generativelanguage.googleapis.com", Price(0.30, 2.50)),
        ("gemini", "models/gemini-2.5-flash-001", "https://generativelanguage.googleapis.com", Price(0.30, 2.50)),
        ("gemini", "gemini-3-flash-preview", "https://generativelanguage.googleapis.com", Price(0.50, 3.00)),
        ("gemini", "gemini-2.5-flash-preview-09-2025", "https://generativelanguage.googleapis.com", Price(0.30, 2.50)),
        ("gemini", "gemini-2.5-flash-image", "https://generativelanguage.googleapis.com", None),
        ("gemini", "gemini-2.5-flash", "http://127.0.0.1:9", None),
        ("openai", "gpt-5-mini-2025-08-07", "https://api.openai.com/v1", Price(0.25, 2.00)),
        ("openai", "gpt-99", "https://api.openai.com/v1", None),
        ("openai", "gpt-5-mini", "https://proxy.example/v1", None),
    ],
)
def test_prices_are_known_by_family_at_the_owners_address(name, model, address, expected):
    assert price_of(name, model, address, ServiceConfig()) == expected


def test_the_users_price_overrules_the_list():
    config = ServiceConfig(input_price=0.0, output_price=0.0)
    assert price_of("openai", "gpt-5", "https://api.openai.com/v1", config) == Price(0.0, 0.0)


def test_one_price_alone_is_refused():
    with pytest.raises(ValueError, match="together"):
        ServiceConfig(input_price=1.0)


def test_a_price_is_per_million_tokens():
    # 2,000,000 in at $3 and 500,000 out at $8: 6 + 4
    assert Price(3.0, 8.0).of(Usage(2_000_000, 500_000)) == 10.0


@given(
    st.floats(0.01, 10),
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1), st.booleans()), max_size=30),
)
def test_the_ceiling_holds_whatever_order_requests_end_in(ceiling, requests):
    budget = Budget(ceiling)
    in_flight: list[tuple[float, float]] = []
    for worst, share, wait in requests:
        try:
            reserved = budget.reserve(worst)
        except ServiceError:
            assert budget.charged + worst > ceiling
            continue
        if reserved:
            in_flight.append((worst, worst * share))
        if in_flight and (wait or not reserved):
            budget.settle(*in_flight.pop(0))
        assert budget.charged + sum(worst for worst, _ in in_flight) <= ceiling + 1e-9
    for worst, cost in in_flight:
        budget.settle(worst, cost)
    assert budget.charged <= ceiling + 1e-9


def test_an_account_is_recalled_once():
    budget = Budget(1.0)
    budget.recall("a", 0.25)
    budget.recall("a", 0.25)
    budget.recall("b", 0.5)
    assert budget.charged == 0.75
