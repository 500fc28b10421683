"""What a chapter's cells use to hold its results to account: claims and recorded numbers."""

from dl4cv.evidence.claims import ClaimError, claim, record

__all__ = ["ClaimError", "claim", "record"]
