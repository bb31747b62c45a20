"""Train models on a finished dataset: input data, fitting, checkpoints, results."""
