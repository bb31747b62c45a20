"""Tests of deploy/dataflow."""
