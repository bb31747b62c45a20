"""How difficult images are: joined of predictions, or taken from scores of others."""
