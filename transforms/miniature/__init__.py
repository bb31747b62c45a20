"""A drawn miniature ImageNet with real wnids, for demonstrations and tests."""
