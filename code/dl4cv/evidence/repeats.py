"""What was measured once, with several seeds: kept in the package, for chapters to quote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: One file a chapter; ``make repeat`` writes them.
FOLDER = Path(__file__).with_name("kept")


@dataclass(frozen=True)
class Repeats:
    """Measurements over several seeds, and where they are from.

    Attributes:
        values: for each thing that was measured, a number for each seed, by the measure's name.
        seeds: the seeds, in the order of the numbers.
        date: the day of the measurement, such as ``2026-11-25``.
        machine: ``processor``, ``cores``, ``system`` and ``python``.
        torch: PyTorch's version.
    """

    values: Mapping[str, Mapping[str, Sequence[float]]]
    seeds: Sequence[int]
    date: str
    machine: Mapping[str, str | int]
    torch: str

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        where = f"{self.machine['cores']} cores of {self.machine['processor']}"
        return f"measured on {self.date} with seeds {seeds}, by {where}"


def load(name: str) -> Repeats:
    """Return what was kept for the chapter ``name``, and print when and where it was measured.

    Raises:
        ValueError: if nothing was kept under this name.
    """
    file = FOLDER / f"{name}.json"
    if not file.is_file():
        kept = sorted(path.stem for path in FOLDER.glob("*.json"))
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(kept)}")
    content = json.loads(file.read_text("utf-8"))
    found = Repeats(**{key: content[key] for key in Repeats.__dataclass_fields__})
    print(found)
    return found
