"""``python -m dl4cv.data`` fetches what is missing of all data sets and says where each is kept."""

import sys

from dl4cv.data import cache, registry
from dl4cv.fetch import sources


def main() -> int:
    """Fetch every data set of the registry; return the exit status of the process."""
    return sources.fetch_each(registry.DATASETS.values(), cache.fetch, cache.folder_of)


if __name__ == "__main__":
    sys.exit(main())
