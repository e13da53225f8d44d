"""hicra from Python: stages as functions, and the planning mask and the HICRA formula for a trainer of your own.

python examples/python_api.py [HOME]
"""

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

from hicra_cli.config.load import load_config
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.embedded import policy_path
from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.rl.advantages import group_advantages, hicra_advantages
from hicra_cli.stages.train.run import run as train


def planning_credit() -> None:
    """The method without anything around it: a mask over token ids, and advantages amplified on it."""
    tokenizer = AutoTokenizer.from_pretrained(policy_path("nano"))
    matcher = PlanningMatcher(GramSet.from_phrases(["let's try a different approach"]), tokenizer)
    response = "that is 12. let's try a different approach: 3 * 4 = 12"
    token_ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    planning_mask = torch.from_numpy(matcher.planning_mask(token_ids))

    advantages = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4)
    token_advantages = advantages[0].expand(len(token_ids))
    credited = hicra_advantages(token_advantages, planning_mask, alpha=0.2)
    for text, planning, credit in zip(tokenizer.convert_ids_to_tokens(token_ids), planning_mask, credited, strict=True):
        print(f"{text:12} {'planning ' if planning else 'execution'} {credit:+.2f}")


def short_training(home: Path) -> None:
    """A stage as a function: configuration in, artifact out; the same artifact that the command line would make."""
    config = load_config(
        ["quickstart"], settings=["train.algo=hicra", "train.steps=2", "train.num_prompts=8", "train.name=api"]
    ).config
    with Registry.open(home) as registry:
        training = train(config, registry, SilentProgress())
        print(training.ref, dict(training.summary)["steps"], "steps")
        for policy, role in registry.inputs(training):
            print(f"  {role}: {policy.ref}")


if __name__ == "__main__":
    planning_credit()
    short_training(Path(sys.argv[1] if len(sys.argv) > 1 else ".hicra"))
