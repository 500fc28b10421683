"""The one training loop of the book, and the store that keeps what it trained."""

from dl4cv.training import schedules
from dl4cv.training.batches import Batches
from dl4cv.training.ema import EMA
from dl4cv.training.fit import fit
from dl4cv.training.history import RUN_LINE, History
from dl4cv.training.loop import TrainingError

__all__ = ["EMA", "RUN_LINE", "Batches", "History", "TrainingError", "fit", "schedules"]
