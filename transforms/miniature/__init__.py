"""Create a miniature ImageNet of drawn images, for demonstrations and tests."""
