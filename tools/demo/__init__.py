"""Rendered parts for the demo, the examples and the tests."""
