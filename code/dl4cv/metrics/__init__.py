"""Measures of what a model makes, each held against a reference by the tests."""
