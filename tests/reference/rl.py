"""Float64 references of the training formulas, written for reading, one loop per sum."""

import math


def group_advantages(rewards, group_size, scale):
    result = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        mean = math.fsum(group) / group_size
        std = math.sqrt(math.fsum((each - mean) ** 2 for each in group) / (group_size - 1))
        for each in group:
            equal = all(other == group[0] for other in group)
            result.append(0.0 if equal else (each - mean) / (std + 1e-6 if scale == "std" else 1.0))
    return result


def clipped_surrogate(ratio, advantage, clip_low, clip_high):
    clipped = min(max(ratio, 1 - clip_low), 1 + clip_high)
    return -min(ratio * advantage, clipped * advantage)


def token_statistics(logits, target, temperature):
    """Log-prob of the target at a temperature and entropy at temperature 1 of one row of logits."""
    shift = max(logits)
    log_z = shift + math.log(math.fsum(math.exp(each - shift) for each in logits))
    entropy = -math.fsum(math.exp(each - log_z) * (each - log_z) for each in logits)
    heated = [each / temperature for each in logits]
    shift = max(heated)
    log_z = shift + math.log(math.fsum(math.exp(each - shift) for each in heated))
    return heated[target] - log_z, entropy
