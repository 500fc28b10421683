"""Operators of object detection: boxes, what is matched to what, and features of a region."""
