"""Tests of what lies outside the package: deploy/ is no package."""
