"""Write, read and check files of model predictions."""
