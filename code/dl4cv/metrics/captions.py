"""How good captions are: word for word, and by their n-grams (BLEU)."""

import math
from collections import Counter
from collections.abc import Sequence


def exact(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the fraction of captions that equal one of their references.

    Args:
        captions: one for each image.
        references: for each image, all captions that are right.

    Raises:
        ValueError: if there are no captions, or not as many lists of references.
    """
    _check(captions, references)
    right = (said in allowed for said, allowed in zip(captions, references, strict=True))
    return sum(right) / len(captions)


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """Return the BLEU score of a set of captions, in [0, 1], without smoothing.

    The geometric mean, over lengths 1 to n, of the fraction of n-grams that are in a reference,
    each counted at most as often as there; times exp(1 − r / c) if the captions are shorter than
    their references: c is the number of words in all captions, r that in the references whose
    length is nearest (the shorter of two as near).

    Args:
        captions: one for each image, words separated by spaces.
        references: for each image, at least one.
        n: the longest n-grams.

    Raises:
        ValueError: if there are no captions, not as many lists of references, an empty list, or
            ``n`` is below 1.

    Source: Papineni, Roukos, Ward and Zhu (2002), section 2.
    """
    _check(captions, references)
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1")
    matched, total, written, expected = [0] * n, [0] * n, 0, 0
    for said, allowed in zip(captions, references, strict=True):
        words, targets = said.split(), [reference.split() for reference in allowed]
        written += len(words)
        expected += min((abs(len(t) - len(words)), len(t)) for t in targets)[1]
        for k in range(n):
            grams = _grams(words, k + 1)
            most = Counter()
            for target in targets:
                most |= _grams(target, k + 1)  # the larger count of each
            matched[k] += (grams & most).total()  # the smaller count of each
            total[k] += grams.total()
    if min(matched) == 0:
        return 0.0
    precision = sum(math.log(m / t) for m, t in zip(matched, total, strict=True)) / n
    return math.exp(precision + min(0, 1 - expected / written))


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not captions or len(captions) != len(references) or not all(references):
        raise ValueError(
            f"there are {len(captions)} captions and {len(references)} lists of references, the "
            f"shortest of {min(map(len, references), default=0)}; expected at least one caption, "
            "as many lists, and a reference in each"
        )
