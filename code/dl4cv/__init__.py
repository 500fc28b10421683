"""The package behind the executable textbook *Deep Learning for Computer Vision*."""
