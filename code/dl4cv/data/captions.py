"""Captions as tokens: a vocabulary, and sequences of one length."""

from collections.abc import Sequence

import torch
from torch import Tensor

PADDING, START, END = 0, 1, 2


class Vocabulary:
    """Words and their tokens; the first three tokens are PADDING, START and END.

    Args:
        words: the words, in the order of their tokens.

    Raises:
        ValueError: if a word stands twice, or is empty or holds a space.
    """

    def __init__(self, *words: str) -> None:
        strange = [word for word in words if len(word.split()) != 1 or words.count(word) > 1]
        if strange:
            raise ValueError(
                f"words holds {strange[0]!r}; expected single words, each of them once"
            )
        self.tokens = ("<padding>", "<start>", "<end>", *words)
        self._numbers = {word: number for number, word in enumerate(self.tokens)}

    def __len__(self) -> int:
        """Return V, the number of tokens."""
        return len(self.tokens)

    def encode(self, captions: Sequence[str], length: int) -> Tensor:
        """Return START, the words and END of each caption, filled up with PADDING.

        Shape: N captions → (N, length) int64.

        Raises:
            ValueError: if a word is not in the vocabulary, or a caption is empty or too long.
        """
        encoded = torch.full((len(captions), length), PADDING)
        for row, caption in zip(encoded, captions, strict=True):
            words = caption.split()
            if not 1 <= len(words) <= length - 2:
                raise ValueError(
                    f"captions holds one of {len(words)} words, {caption!r}; expected 1 to "
                    f"{length - 2}, since length is {length} with START and END"
                )
            unknown = [word for word in words if word not in self._numbers]
            if unknown:
                raise ValueError(
                    f"captions holds {unknown[0]!r}; expected one of: {', '.join(self.tokens[3:])}"
                )
            row[: len(words) + 2] = torch.tensor(
                [START, *(self._numbers[word] for word in words), END]
            )
        return encoded

    def decode(self, tokens: Tensor) -> list[str]:
        """Return the words of each row up to its END, without START and PADDING.

        Shape: (N, T) integers in 0 to V − 1 → N captions.

        Raises:
            ValueError: if ``tokens`` has another shape, or holds a number that is no token.
        """
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise ValueError(
                f"tokens is {tokens.dtype} of shape {tuple(tokens.shape)}; expected integers of "
                "shape (N, T)"
            )
        captions = []
        for row in tokens.tolist():
            if any(not 0 <= token < len(self) for token in row):
                raise ValueError(f"tokens holds {row}; expected numbers from 0 to {len(self) - 1}")
            kept = row[: row.index(END)] if END in row else row
            captions.append(" ".join(self.tokens[t] for t in kept if t > END))
        return captions
