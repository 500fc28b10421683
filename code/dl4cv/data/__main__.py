"""``python -m dl4cv.data`` fetches what is missing of all data sets and says where each lies."""

import sys
import time

from dl4cv.data import cache, registry
from dl4cv.data.download import FetchError


def main() -> int:
    """Fetch every data set of the registry; return how the process should exit."""
    failed = False
    for dataset in registry.DATASETS.values():
        start = time.perf_counter()
        try:
            fetched = cache.fetch(dataset)
        except FetchError as error:
            print(error, file=sys.stderr, flush=True)
            failed = True
            continue
        except KeyboardInterrupt:
            print(f"\n{dataset.title}: interrupted; the same command goes on", file=sys.stderr)
            return 130
        if not fetched:
            seconds = time.perf_counter() - start
            where = cache.folder_of(dataset)
            print(f"{dataset.title}: already there in {where}, checked in {seconds:.1f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
