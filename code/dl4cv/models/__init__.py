"""One family of models a file, each the subject of a chapter."""
