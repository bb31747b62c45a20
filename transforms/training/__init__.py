"""A finished dataset → models trained on it: made, fed, fitted and kept."""
