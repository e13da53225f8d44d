"""Float64 reference of a step's updates: every response by itself, full logits, the formulas as the papers print them.

No batches, no packing, no chunks, no skipped rollouts, nothing shared with the trainer. `options` has the names of the
train section. Gradient descent without momentum, so that every update's gradient shows in the next one.
"""

import torch


def descend(model, rollouts, advantages, updates, options, *, lr, reference=None, counted=None, limit=None):
    """Gradients by parameter name of each update.

    advantages: a list of numbers per rollout. updates: the members of each update, in order. counted: bool per rollout.
    """
    counted = [True] * len(rollouts) if counted is None else counted
    with torch.no_grad():
        old = [figures(model, each, options["temperature"])[0] for each in rollouts]
        ref = None if reference is None else [figures(reference, each, 1.0)[0] for each in rollouts]
    gradients = []
    for members in updates:
        members = [index for index in members if counted[index]]
        model.zero_grad()
        sizes = [len(rollouts[index].token_ids) for index in members]
        loss = torch.zeros((), dtype=torch.float64)
        for index in members:
            own = response_loss(
                model,
                rollouts[index],
                torch.tensor(advantages[index], dtype=torch.float64),
                old[index],
                None if ref is None else ref[index],
                options,
                several=len(updates) > 1,
            )
            if options["reduction"] == "token":
                loss = loss + own.sum() / sum(sizes)
            elif options["reduction"] == "sequence":
                loss = loss + own.mean() / len(members)
            else:
                loss = loss + own.sum() / (len(members) * limit)
        if members:
            loss.backward()
        gradients.append({name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None})
        with torch.no_grad():
            for each in model.parameters():
                if each.grad is not None:
                    each -= lr * each.grad
    return gradients


def response_loss(model, rollout, advantage, old, ref, options, *, several):
    """(T,) loss of each token of one response."""
    logprobs, entropy = figures(model, rollout, options["temperature"])
    old = old if several else logprobs.detach()
    log_ratio = logprobs - old
    if options["ratio_level"] == "sequence":
        log_ratio = log_ratio.mean().expand_as(log_ratio)
    ratio = log_ratio.exp()
    if options["loss"] == "cispo":
        losses = -torch.minimum(ratio.detach(), torch.tensor(options["cispo_cap"])) * advantage * logprobs
    else:
        low, high = 1 - options["clip_low"], 1 + options["clip_high"]
        losses = torch.maximum(-ratio * advantage, -ratio.clamp(low, high) * advantage)
        if options["dual_clip"] is not None:
            bounded = torch.minimum(losses, options["dual_clip"] * advantage.abs())
            losses = torch.where(advantage < 0, bounded, losses)
    sampler = torch.from_numpy(rollout.sampler_logprobs).double()
    importance = (old - sampler).exp()
    kept = importance if options["importance_above"] == "truncate" else importance * (importance <= 2.0)
    losses = kept.clamp(max=2.0) * losses
    if options["kl_beta"]:
        losses = losses + options["kl_beta"] * kl(logprobs, ref, options["kl_estimator"])
    return losses - options["entropy_beta"] * entropy


def kl(logprobs, ref, estimator):
    if estimator == "k1":
        return logprobs - ref
    if estimator == "k2":
        return (logprobs - ref) ** 2 / 2
    return (ref - logprobs).exp() - 1 - (ref - logprobs)


def figures(model, rollout, temperature):
    """Log-probs of a response's tokens at a temperature and entropies at 1, from the logits of the whole sequence."""
    prompt, response = (torch.from_numpy(each).long() for each in (rollout.prompt_token_ids, rollout.token_ids))
    logits = model(input_ids=torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]
    distribution = torch.softmax(logits, dim=-1)
    entropy = -(distribution * torch.log(distribution)).sum(dim=-1)
    chosen = torch.softmax(logits / temperature, dim=-1)[torch.arange(len(response)), response]
    return torch.log(chosen), entropy
