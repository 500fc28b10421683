"""Fetching published files: from the first source that has them, checked before they are read.

``published`` describes files and their sources, ``sources`` tries one source after another,
``download`` fetches by HTTP, and ``package_managers`` by pip and apt. None of it needs PyTorch:
every build checks whether all data is there, and should not wait for it.
"""
