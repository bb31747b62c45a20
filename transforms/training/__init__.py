"""Train models on a finished dataset: read data, fit, write checkpoints and results."""
