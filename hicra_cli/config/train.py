"""train: the algorithm of DESIGN section 3 and the run around it."""

from typing import Literal

from pydantic import Field, model_validator

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.section import Section

GRAM_ALGOS = frozenset(("hicra", "placebo", "zero-sum", "shuffled", "release"))
"""Algorithms that amplify the tokens of a gram-set: without any of them they would be GRPO."""

ENTROPY_ALGOS = frozenset(("entropy-adv", "fork", "release"))
"""Algorithms whose credit depends on the entropy of each token."""


class CoverageConfig(Section):
    """Bounds on the share of planning tokens: an unnoticed empty mask makes HICRA equal to GRPO."""

    low: float = Field(0.005, ge=0, le=1, description="Below this share the run warns; at 0 HICRA stops.")
    high: float = Field(0.15, ge=0, le=1, description="Above this share the run warns.")


class MoveAlphas(Section):
    """One alpha per logical move."""

    deduction: float = Field(0.2, ge=0, le=1, description="Alpha of deduction grams.")
    branching: float = Field(0.2, ge=0, le=1, description="Alpha of branching grams.")
    backtracing: float = Field(0.2, ge=0, le=1, description="Alpha of backtracing grams.")


class AdaptiveConfig(Section):
    """When alpha opens under the schedule `adaptive`; see `hicra_cli.rl.alpha.AdaptiveAlpha` for the formula."""

    window: int = Field(10, ge=1, description="Steps over which execution perplexity must be flat.")
    tolerance: float = Field(0.02, gt=0, lt=1, description="Relative change over the window that counts as flat.")
    min_accuracy: float = Field(0.1, ge=0, le=1, description="Accuracy below which the gate stays shut.")
    decay: float = Field(0.8, ge=0, lt=1, description="Smoothing of both figures: weight of the past.")
    ramp_steps: int = Field(20, ge=1, description="Steps from opening to the whole of alpha.")


class LoraConfig(Section):
    """Low-rank adapters instead of full fine-tuning (peft)."""

    rank: int = Field(0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: float = Field(32.0, gt=0, description="Adapters are scaled by alpha / rank.")
    targets: list[str] = Field(
        default_factory=lambda: ["all-linear"],
        description="Names of the layers that get adapters; `all-linear`: every linear layer but the head.",
    )

    @property
    def scale(self) -> float:
        """Factor of an adapter's product; without adapters it multiplies nothing."""
        return self.alpha / max(self.rank, 1)


class WatchConfig(Section):
    """Faults of a run that are looked for at every step; a named fault stops it with a usable checkpoint."""

    max_ratio: float = Field(
        10.0, gt=1, description="Stop when the 99 % quantile of trainer/sampler or new/old ratios passes this."
    )
    max_grad_norm: float = Field(
        1e4, gt=0, description="Stop when the gradient norm before clipping passes this (its step is not taken)."
    )
    collapse_window: int = Field(
        20, ge=2, description="Steps over which a collapse of the reward is looked for; warned, never stopped."
    )
    collapse_fraction: float = Field(
        0.5, gt=0, lt=1, description="Collapse: the mean reward of the window is below this share of the best window."
    )


class TrainConfig(Section):
    name: Name | None = Field(
        None, pattern=NAME_PATTERN, description="Name of the training artifact; by default the algorithm's name."
    )
    policy: str = Field("nano", description="Start from this policy: artifact reference, path or HF id.")
    gram_set: str | None = Field(
        None,
        description="Gram-set of the planning mask; by default the newest one in the registry, else the one that "
        "ships with the embedded task.",
    )
    algo: Literal[
        "grpo", "hicra", "entropy-reg", "entropy-adv", "fork", "placebo", "zero-sum", "shuffled", "release"
    ] = Field(
        "grpo",
        description="`grpo`: clip-higher; `hicra`: amplified planning tokens; `entropy-reg`: entropy in the loss; "
        "`entropy-adv`: entropy in the advantage; `fork`: gradient on high-entropy tokens only. Controls of hicra: "
        "`placebo` (random grams), `zero-sum` (no net push), `shuffled` (other tokens); `release`: high-entropy tokens "
        "of long correct answers too.",
    )
    alpha: float = Field(0.2, ge=0, le=1, description="Planning amplification in A + alpha*|A|; 0 is plain GRPO.")
    alpha_negative: float | None = Field(
        None, ge=0, le=1, description="Another alpha for blamed tokens (A < 0); `alpha` then holds for praised ones."
    )
    alpha_moves: MoveAlphas | None = Field(None, description="One alpha per move instead of one for all.")
    alpha_schedule: Literal["constant", "linear", "cosine", "adaptive"] = Field(
        "constant",
        description="How alpha opens over the run; `adaptive`: when execution perplexity is flat and accuracy passed a "
        "gate.",
    )
    adaptive: AdaptiveConfig = Field(default_factory=AdaptiveConfig, description="The gate of alpha_schedule=adaptive.")
    entropy_adv_beta: float = Field(0.4, ge=0, description="entropy-adv: weight of the token entropy in nats.")
    entropy_adv_kappa: float = Field(2.0, gt=1, description="entropy-adv: the bonus is at most |A| / kappa.")
    fork_fraction: float = Field(0.2, gt=0, le=1, description="fork: share of tokens, highest entropy first.")
    release_fraction: float = Field(0.3, gt=0, lt=1, description="release: share of high-entropy tokens per answer.")
    entropy_beta: float = Field(
        0.003, ge=0, description="entropy-reg: weight of the mean token entropy in the objective."
    )
    steps: int = Field(40, ge=1, description="Optimizer steps; one batch of rollouts each.")
    num_prompts: int = Field(32, ge=1, description="Prompts per step.")
    group_size: int = Field(8, ge=2, description="G: rollouts per prompt.")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="How rollouts are sampled.")
    response_limits: list[int] = Field(
        default_factory=list,
        description="Growing response limits in tokens, for example [16384, 32768]: the next one is taken when more "
        "than `grow_at` of the responses are cut. Empty: `sampling.max_new_tokens` throughout.",
    )
    grow_at: float = Field(0.2, gt=0, le=1, description="Share of cut responses at which the limit grows.")
    advantage_scale: Literal["none", "std", "batch"] = Field(
        "none",
        description="`none`: R - mean (the paper's v3, Dr. GRPO); `std`: divided by the group's std + 1e-6; `batch`: "
        "by that of all rewards of the step.",
    )
    reduction: Literal["token", "sequence", "constant"] = Field(
        "token",
        description="`token`: mean over the step's response tokens; `sequence`: mean of per-response means; "
        "`constant`: divided by responses times the response limit (Dr. GRPO).",
    )
    clip_low: float = Field(0.2, gt=0, lt=1, description="Ratio is clipped below 1 - clip_low.")
    clip_high: float = Field(0.28, gt=0, description="Ratio is clipped above 1 + clip_high (clip-higher).")
    dynamic_filtering: bool = Field(
        False, description="Replace groups whose rewards are all equal by newly sampled prompts (DAPO)."
    )
    max_resamples: int = Field(
        3, ge=0, description="dynamic_filtering: additional batches of prompts per step, at most."
    )
    loss: Literal["ppo", "cispo"] = Field(
        "ppo",
        description="`ppo`: clipped surrogate; `cispo`: clipped, detached ratio times log-prob, so that no token loses "
        "its gradient.",
    )
    ratio_level: Literal["token", "sequence"] = Field(
        "token",
        description="`token`: a ratio per token; `sequence`: one per response, the geometric mean (GSPO). A ratio per "
        "sequence cannot carry advantages that differ by token.",
    )
    cispo_cap: float = Field(5.0, gt=1, description="cispo: the ratio is capped at this.")
    dual_clip: float | None = Field(
        None, gt=1, description="Bound on the loss of blamed tokens, in units of |A| (3 is usual); null is off."
    )
    epochs: int = Field(1, ge=1, description="Passes over each batch of rollouts.")
    minibatches: int = Field(
        1, ge=1, description="Optimizer updates per pass: the groups of a batch are dealt to so many minibatches."
    )
    kl_beta: float = Field(0.0, ge=0, description="Weight of the KL term to the reference policy; 0 loads none.")
    kl_estimator: Literal["k1", "k2", "k3"] = Field("k3", description="Estimator of the KL term in the loss.")
    reference: str | None = Field(
        None, description="Reference policy of the KL term: artifact, path or HF id; by default the starting policy."
    )
    overlong: Literal["keep", "mask"] = Field(
        "keep", description="Responses cut at the limit: `mask` leaves them out of the loss and its denominator (DAPO)."
    )
    overlong_buffer: int = Field(
        0,
        ge=0,
        description="Soft overlong penalty (DAPO): the last so many tokens before the limit cost reward, linearly.",
    )
    overlong_penalty: float = Field(1.0, ge=0, description="Soft overlong penalty at the limit, in units of reward.")
    importance_cap: float = Field(
        2.0,
        ge=1,
        description="Engine mismatch: a token's importance weight trainer/sampler is truncated at this value.",
    )
    importance_above: Literal["truncate", "mask"] = Field(
        "truncate", description="Above importance_cap a weight is truncated to it, or its token left out."
    )
    lr: float = Field(1e-6, gt=0, description="Learning rate after warm-up.")
    warmup_steps: int = Field(10, ge=0, description="Steps of linear warm-up.")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: decay of the first moment.")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW: decay of the second moment.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW: decoupled weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to this.")
    lora: LoraConfig = Field(default_factory=LoraConfig, description="Adapters instead of full fine-tuning.")
    precision: Literal["auto", "float32", "bfloat16", "bfloat16-kahan"] = Field(
        "auto",
        description="`float32`; `bfloat16`: bfloat16 compute over float32 masters; `bfloat16-kahan`: weights, "
        "gradients and moments in bfloat16 with a compensated update (half the memory); auto is float32 on CPU, "
        "bfloat16 on a GPU.",
    )
    layout: Literal["auto", "padded", "packed"] = Field(
        "auto",
        description="`packed`: one row of sequences without padding; `padded`: rows sorted by length; auto is packed "
        "where the model can and, on a GPU, computes in 16 bits.",
    )
    share_prompts: Literal["auto", "always", "never"] = Field(
        "auto",
        description="packed: a prompt runs through the model once for all responses of its group; auto: where "
        "prompts are a large part of the tokens.",
    )
    parallel: Literal["auto", "ddp", "zero2", "fsdp"] = Field(
        "auto",
        description="With several processes: `ddp` copies the model to each, `fsdp` shards weights, gradients and "
        "moments (torch fully_shard; as ZeRO stage 3), `zero2` the same with weights kept whole between forward and "
        "backward (as ZeRO stage 2); auto: what accelerate is configured for, else ddp where they fit half a device.",
    )
    worker_timeout_s: float = Field(
        1800.0,
        gt=0,
        description="With several processes: how long one waits for the slowest in an exchange before the run fails. "
        "A process that dies is noticed at once.",
    )
    token_budget: int = Field(
        8192,
        ge=64,
        description="Tokens (prompt + response, padding included) per micro-batch, at most; only memory and speed "
        "depend on it.",
    )
    head_chunk: int = Field(4096, ge=16, description="Response tokens whose logits exist at once in the fused head.")
    gradient_checkpointing: bool | Literal["auto"] = Field(
        "auto",
        description="Recompute activations: less memory, a third more work; auto: where the memory plan needs it.",
    )
    save_every: int = Field(20, ge=1, description="Checkpoint every so many steps (the last step always).")
    keep_checkpoints: int = Field(2, ge=1, description="Resumable optimizer states kept while the run goes on.")
    eval_every: int = Field(0, ge=0, description="Evaluate on held-out problems every so many steps; 0 is never.")
    eval_prompts: int = Field(128, ge=1, description="Held-out problems of the evaluation inside the run.")
    eval_samples: int = Field(2, ge=1, description="Samples per held-out problem.")
    best_metric: str = Field(
        "eval/accuracy",
        description="The policy with the highest value in the step record gets the alias `best`; a name that starts "
        "with `-` means the lowest.",
    )
    trackers: list[Literal["tensorboard", "wandb", "trackio", "mlflow"]] = Field(
        default_factory=list, description="Besides steps.jsonl, which is always written, send step records there."
    )
    watch: WatchConfig = Field(default_factory=WatchConfig, description="Faults that stop a run.")
    save_rollouts_every: int = Field(1, ge=0, description="Keep the rollouts of every so many steps; 0 keeps none.")
    coverage: CoverageConfig = Field(default_factory=CoverageConfig, description="Gate on the planning share.")

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.sampling.top_p != 1.0 or self.sampling.top_k != 0:
            raise ValueError(
                "top_p and top_k are refused for training: the sampler would draw from another distribution than "
                "the one the gradient is taken of"
            )
        if self.sampling.temperature == 0:
            raise ValueError("temperature 0 is refused for training: equal rollouts carry no signal")
        if self.alpha_moves is not None and self.alpha_negative is not None:
            raise ValueError("alpha_moves and alpha_negative cannot both be set")
        if self.ratio_level == "sequence" and self.algo not in ("grpo", "entropy-reg"):
            raise ValueError(
                f"algo {self.algo} with ratio_level sequence is refused: its advantages differ by token, and one ratio "
                "per sequence cannot carry them"
            )
        if self.ratio_level == "sequence" and self.loss == "cispo":
            raise ValueError("loss cispo has a ratio per token; ratio_level sequence goes with loss ppo")
        if self.kl_beta == 0 and self.reference is not None:
            raise ValueError("reference is set but kl_beta is 0, so it would not be used")
        if self.minibatches > self.num_prompts:
            raise ValueError(f"{self.num_prompts} prompts cannot be dealt to {self.minibatches} minibatches")
        if sorted(self.response_limits) != self.response_limits:
            raise ValueError(f"response_limits must grow, got {self.response_limits}")
        return self
