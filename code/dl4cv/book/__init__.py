"""What turns chapters into a book: claims, fingerprints, the build, notebooks and lint."""

from dl4cv.book.claims import ClaimError, claim, measured

__all__ = ["ClaimError", "claim", "measured"]
