"""Runs pytest over and over in one folder, each time in a fresh fork that has PyTorch loaded.

Reads a line of JSON (the arguments of pytest) at a time, and answers with a line of JSON: the exit
status and the file that holds what was printed. To start Python and import PyTorch for each of a
hundred breakages would take longer than all the tests.
"""

import json
import os
import sys
import tempfile

import pytest
import torch
import torchvision

PRELOADED = (torch, torchvision)


def main() -> None:
    """Answer requests until the input ends. The package itself is imported by the forks alone."""
    for line in sys.stdin:
        handle, path = tempfile.mkstemp(suffix=".log")
        child = os.fork()
        if child == 0:
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os._exit(pytest.main(json.loads(line)))
        os.close(handle)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, path]), flush=True)


if __name__ == "__main__":
    main()
