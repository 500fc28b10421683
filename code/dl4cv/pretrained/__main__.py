"""``python -m dl4cv.pretrained`` fetches what chapters load, and says where each is kept."""

import sys

from dl4cv.fetch import sources
from dl4cv.pretrained import registry, weights


def main() -> int:
    """Fetch the networks that chapters load; return the exit status of the process."""
    networks = [registry.NETWORKS[name] for name in registry.LOADED_BY_CHAPTERS]
    return sources.fetch_each(networks, weights.fetch, weights.path_of)


if __name__ == "__main__":
    sys.exit(main())
