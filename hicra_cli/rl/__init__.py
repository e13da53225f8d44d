"""The training mathematics: tensors and numbers only; it knows no engine, registry or root configuration."""
