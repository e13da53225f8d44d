"""hicra train"""

from hicra_cli.commands.options import COMPUTE_KNOBS, DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--algo", "train.algo"),
    Knob("--alpha", "train.alpha"),
    Knob("--alpha-negative", "train.alpha_negative"),
    Knob("--alpha-schedule", "train.alpha_schedule"),
    Knob("--policy", "train.policy"),
    Knob("--gram-set", "train.gram_set"),
    Knob("--steps", "train.steps"),
    Knob("--num-prompts", "train.num_prompts"),
    Knob("--group-size", "train.group_size"),
    Knob("--lr", "train.lr"),
    Knob("--temperature", "train.sampling.temperature"),
    Knob("--max-new-tokens", "train.sampling.max_new_tokens"),
    Knob("--advantage-scale", "train.advantage_scale"),
    Knob("--entropy-beta", "train.entropy_beta"),
    Knob("--kl-beta", "train.kl_beta"),
    Knob("--dynamic-filtering", "train.dynamic_filtering"),
    Knob("--train-data", "task.train_data"),
    Knob("--reward", "task.reward"),
    Knob("--lora-rank", "train.lora.rank"),
    Knob("--token-budget", "train.token_budget"),
    Knob("--save-every", "train.save_every"),
    Knob("--eval-every", "train.eval_every"),
    Knob("--tracker", "train.trackers"),
    Knob("--name", "train.name"),
    *COMPUTE_KNOBS,
)


def train(session: Session, dry_run: DryRun = False, force: Force = False, resume: Resume = False) -> Report:
    """Train a policy with GRPO, HICRA, an entropy baseline, or a control of HICRA.

    Reads a policy and a gram-set, writes training:NAME and its checkpoints as policies. An interrupted run goes on
    with --resume and ends with the same bytes on CPU.

    \b
    Examples:
      hicra train --algo hicra --alpha 0.2
      hicra train --algo hicra --alpha 0.2 --alpha-schedule linear --name opening
      hicra train --algo zero-sum
      hicra train --algo grpo --steps 20 --name short
      hicra train --reward my_rewards.py:brief --eval-every 10 --tracker tensorboard
      hicra train -c qwen3-4b-base --engine vllm --lora-rank 32
      torchrun --nproc-per-node 8 -m hicra_cli train -c qwen3-4b-base
    """
    return run_stage(session, dry_run=dry_run, force=force, resume=resume)


app = single_app("train", train, KNOBS)
