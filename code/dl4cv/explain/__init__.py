"""Looking inside a trained network: what it looks at, what it has learned, what it can paint."""
