import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.rl.balance import TokenCost, cost_of, cut_padded, deal, fill_rows
from hicra_cli.rl.layout import Layout
from hicra_cli.rl.packing import pack
from tests.rl.models import CONFIGS, random_groups, random_rollouts

COST = TokenCost(per_token=10.0, per_response_token=3.0, per_pair=0.5, per_call=40.0)


def test_the_cost_of_a_rollout_by_hand():
    # prompt 3, response 4: 6 tokens in the row, 21 pairs: 10 * 6 + 3 * 4 + 0.5 * 21
    assert COST.sequence(3, 4) == 82.5


def test_the_cost_of_a_shared_prompt_by_hand():
    # prompt 3: 30 + 0.5 * 6 = 33. Response 4: 3 tokens, 9 + 6 pairs: 30 + 12 + 7.5. Response 1: 3.
    assert COST.shared(3, [4, 1]) == pytest.approx(33 + 49.5 + 3)
    assert COST.shared(3, [4]) == pytest.approx(COST.sequence(3, 4))


def test_the_cost_of_a_model_counts_its_heads_and_layers():
    # 2 layers, 2 heads of 8: 14 * 2 * 2 * 8 = 448 per pair; 6 per layer weight, 8 per head weight;
    # 32 * 300 + 200 * 170 = 43600 per call
    cost = cost_of(CONFIGS["qwen3"](), head_weights=100, layer_weights=50, all_weights=170)
    assert cost == TokenCost(per_token=300, per_response_token=800, per_pair=448, per_call=43600)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60), st.integers(1, 6))
def test_dealing_gives_every_item_once_and_exceeds_the_mean_by_less_than_one_item(costs, workers):
    hands = deal(costs, workers=workers)
    assert sorted(index for hand in hands for index in hand) == list(range(len(costs)))
    loads = [sum(costs[index] for index in hand) for hand in hands]
    assert max(loads) <= sum(costs) / workers + max(costs)
    assert hands == deal(costs, workers=workers)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from([2, 4, 8]), st.sampled_from([256, 1024]), st.booleans(), st.booleans())
def test_workers_differ_by_less_than_a_tenth_in_cost(seed, workers, budget, packed, shared):
    generator = np.random.default_rng(seed)
    # 12 micro-batches of `budget` tokens for each worker, in groups of 4 that are at most a fifth of a micro-batch
    longest = budget // 20
    groups = 12 * workers * budget // (4 * longest // 2 + longest // 4)
    rollouts = random_groups(
        seed, [(longest // 4, generator.integers(1, longest, size=4).tolist()) for _ in range(groups)]
    )
    rows = pack(rollouts, Layout(packed, 0.0 if shared else 2.0, COST))
    plan = rows.plan(range(len(rollouts)), token_budget=budget, workers=workers)
    assert len({len(mine) for mine in plan}) == 1
    assert len(plan[0]) >= 8
    loads = [sum(group_cost(rows, micro) for micro in mine) for mine in plan]
    assert max(loads) <= 1.1 * np.mean(loads)


def group_cost(rows, micro):
    prompts: dict[str, list[tuple[int, int]]] = {}
    for index in micro:
        rollout = rows.rollouts[index]
        prompts.setdefault(rollout.prompt.id, []).append((len(rollout.prompt_token_ids), len(rollout.token_ids)))
    if rows.shared:
        costs = [COST.shared(pairs[0][0], [response for _, response in pairs]) for pairs in prompts.values()]
    else:
        costs = [COST.sequence(*pair) for pairs in prompts.values() for pair in pairs]
    return sum(costs)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 90), st.floats(0, 500))
def test_no_cut_of_padded_rows_costs_less(widths, budget, per_call):
    widths = sorted(widths, reverse=True)
    cost = TokenCost(per_token=10.0, per_pair=0.5, per_call=per_call)

    def total(runs):
        return sum(cost.per_call + (run.stop - run.start) * cost.rows(widths[run.start]) for run in runs)

    def cuts(first):
        if first == len(widths):
            yield []
        for stop in range(first + 1, len(widths) + 1):
            if stop - first == 1 or (stop - first) * widths[first] <= budget:
                yield from ([slice(first, stop), *rest] for rest in cuts(stop))

    found = cut_padded(widths, token_budget=budget, cost=cost)
    assert any(found == each for each in cuts(0))
    assert total(found) == pytest.approx(min(map(total, cuts(0))))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 90))
def test_rows_hold_every_item_once_within_the_budget_and_any_two_overflow_it(sizes, budget):
    rows = fill_rows(sizes, token_budget=budget)
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    sums = [sum(sizes[index] for index in row) for row in rows]
    assert all(total <= budget or len(row) == 1 for total, row in zip(sums, rows, strict=True))
    assert all(a + b > budget for at, a in enumerate(sums) for b in sums[:at])


@pytest.mark.parametrize("layout", [Layout(), Layout(packed=True), Layout(packed=True, share_from=0.0)])
def test_the_costliest_micro_batch_comes_first_and_the_empty_ones_last(layout):
    rollouts = random_rollouts(0, [(2, 3), (2, 40), (2, 9), (2, 20), (2, 5)])
    for mine in pack(rollouts, layout).plan(range(5), token_budget=10, workers=2):
        sizes = [sum(len(rollouts[index].token_ids) for index in micro) for micro in mine]
        assert sizes == sorted(sizes, reverse=True)


def test_a_cost_of_the_callers_own_decides_who_gets_what():
    packed = pack(random_rollouts(0, [(2, 9), (2, 3), (2, 3), (2, 3)]))
    plan = packed.plan(range(4), token_budget=100, workers=2, cost=lambda prompt, response: 1.0)
    assert [sum(map(len, mine)) for mine in plan] == [2, 2]
    plan = packed.plan(range(4), token_budget=100, workers=2, cost=lambda prompt, response: float(response))
    assert [sum(map(len, mine)) for mine in plan] == [1, 3]
