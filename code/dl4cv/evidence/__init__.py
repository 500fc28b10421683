"""What a chapter's cells use to hold its results to account: claims, comparisons, numbers."""

from dl4cv.evidence.claims import ClaimError, claim, record, standard_error
from dl4cv.evidence.comparisons import compare

__all__ = ["ClaimError", "claim", "compare", "record", "standard_error"]
