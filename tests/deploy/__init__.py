"""Tests of deploy/, which is not a package."""
