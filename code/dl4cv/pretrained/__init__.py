"""Networks that come with their weights, checked before use and loaded without running code."""
