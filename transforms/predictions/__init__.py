"""Files of model predictions: their schema, writing and reading."""
