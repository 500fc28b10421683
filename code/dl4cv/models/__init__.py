"""Models, one family per file, each the subject of a chapter."""
