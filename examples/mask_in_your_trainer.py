"""HICRA in a trainer of your own: a matcher, and two lines between its rewards and its loss.

Written as such loops are: padded (B, T) responses, one advantage per rollout, a clipped loss. The planning mask and the
formula are marked with <--; everything else is plain torch and transformers, on the built-in model and task.

python examples/mask_in_your_trainer.py [STEPS]
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hicra_cli.embedded import grams_path, policy_path
from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.rl.advantages import group_advantages, hicra_advantages
from hicra_cli.tasks.countdown import countdown_prompt, grade_countdown

GROUP_SIZE, ALPHA, CLIP_LOW, CLIP_HIGH = 8, 0.2, 0.2, 0.28
QUESTIONS = [countdown_prompt([3, 5, 7], 22), countdown_prompt([2, 8, 9], 25)]


def main(steps: int) -> None:
    """A few steps of training the built-in model on two questions."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(policy_path("nano"), padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(policy_path("nano"))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    # <-- Once: any gram-set, any fast tokenizer.
    matcher = PlanningMatcher(GramSet.load(grams_path()), tokenizer)
    for step in range(steps):
        questions = [question for question in QUESTIONS for _ in range(GROUP_SIZE)]
        chats = [[{"role": "user", "content": question.text}] for question in questions]
        prompts = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        width = prompts["input_ids"].shape[1]
        with torch.no_grad():
            ids = policy.generate(**prompts, max_new_tokens=120, do_sample=True, top_k=0)
        response_ids = ids[:, width:]
        ended = response_ids == tokenizer.eos_token_id
        response_mask = ended.cumsum(dim=1) - ended.int() == 0  # up to the end token, that one included
        truncated = ~ended.any(dim=1)
        texts = tokenizer.batch_decode(response_ids, skip_special_tokens=True)
        rewards = torch.tensor(
            [
                grade_countdown(text, question.answer, truncated=bool(cut)).reward
                for text, question, cut in zip(texts, questions, truncated, strict=True)
            ]
        )

        advantages = group_advantages(rewards, group_size=GROUP_SIZE)
        token_advantages = advantages[:, None].expand(response_ids.shape)
        # <-- From the sampled ids, once: the mask belongs to the rollout, whatever the policy becomes.
        planning_mask = torch.from_numpy(
            matcher.padded_planning_mask(response_ids.numpy(), response_mask.numpy(), truncated=truncated.tolist())
        )
        # <-- After the group's normalisation, before ratio and clip; no whitening afterwards.
        token_advantages = hicra_advantages(token_advantages, planning_mask, alpha=ALPHA)

        attention_mask = torch.cat([prompts["attention_mask"], response_mask.long()], dim=1)
        logits = policy(ids, attention_mask=attention_mask).logits[:, width - 1 : -1].float()
        logprobs = logits.log_softmax(dim=-1).gather(2, response_ids[..., None]).squeeze(2)
        ratio = torch.exp(logprobs - logprobs.detach())
        clipped_ratio = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
        token_loss = -torch.minimum(ratio * token_advantages, clipped_ratio * token_advantages)
        loss = (token_loss * response_mask).sum() / response_mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        share = planning_mask.sum() / response_mask.sum()
        print(f"step {step}: mean reward {rewards.mean():.3f}, {share:.1%} planning tokens, loss {loss:+.4f}")

    labels = matcher.labels(response_ids[0][response_mask[0]], truncated=bool(truncated[0]))
    print(f"the last rollout uses {len(set(labels.gram_indices.tolist()) - {-1})} strategic grams")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
