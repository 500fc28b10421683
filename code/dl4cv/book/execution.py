"""Running chapters side by side, each in a kernel with one thread."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dl4cv.book import machine
from dl4cv.book.chapters import Chapter
from dl4cv.book.progress import Progress

#: The longest that one cell may run, in seconds: far more than any needs, for slow machines too.
CELL_TIMEOUT = 900

#: With one thread a result does not depend on the number of cores, and kernels do not compete.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: Prints the most memory that the kernel had in use, in MiB. Linux's own count of the process is
#: read first: ``getrusage`` begins with what the parent held when it forked the kernel.
PEAK_MEMORY = """
import re
from pathlib import Path
from dl4cv import runtime
status = Path("/proc/self/status")
found = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()) if status.exists() else None
on = runtime.device()
print(int(found[1]) / 1024 if found and on.type != "cuda" else runtime.peak_mib(on))
"""


class ChapterError(Exception):
    """Cells failed; the message names, for each chapter, the cell and what it raised."""


@dataclass
class Execution:
    """A chapter with its outputs, and what they cost.

    Attributes:
        notebook: the executed cells.
        seconds: from the start of the kernel to its end.
        start: seconds until the first cell ran.
        cells: the seconds of each cell that ran, by its place in the notebook.
        peak_mib: the most memory in use at once.
    """

    notebook: nbformat.NotebookNode
    seconds: float = 0.0
    start: float = 0.0
    cells: dict[int, float] = field(default_factory=dict)
    peak_mib: float = 0.0


def execute(
    chapter: Chapter,
    environment: Mapping[str, str] = os.environ,
    *,
    on_cell: Callable[[int, int], None] = lambda number, total: None,
    on_client: Callable[[NotebookClient], None] = lambda client: None,
) -> Execution:
    """Run every cell of ``chapter`` in a fresh kernel with one thread, in the chapter's folder.

    Args:
        chapter: what to run.
        environment: the environment variables of the kernel, but for the number of threads.
        on_cell: called as each cell starts, with its number and the number of all cells.
        on_client: called with the client that holds the kernel, before there is one.

    Raises:
        ChapterError: if a cell raises, runs for longer than ``CELL_TIMEOUT`` or ends the kernel.
    """
    notebook = chapter.read()
    made = Execution(notebook)
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    probe = nbformat.v4.new_code_cell(PEAK_MEMORY)
    notebook.cells.append(probe)
    began = cell_began = time.perf_counter()
    number = 0

    def starts(cell: nbformat.NotebookNode, **_) -> None:
        nonlocal number, cell_began
        cell_began = time.perf_counter()
        if cell is not probe:
            number += 1
            made.start = made.start or cell_began - began
            on_cell(number, total)

    def ends(cell: nbformat.NotebookNode, cell_index: int, **_) -> None:
        if cell is not probe:
            made.cells[cell_index] = time.perf_counter() - cell_began

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(chapter.source.parent)}},
        on_cell_execute=starts,
        on_cell_executed=ends,
        record_timing=False,  # timings in the cells' metadata would change the cache's key
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of TCP at every start
    )
    on_client(client)
    try:
        asyncio.run(client.async_execute(env={**environment, **ONE_THREAD}))
    except CellExecutionError as error:
        problem = f"failed\n{error}"
    except TimeoutError:
        problem = f"ran for over {CELL_TIMEOUT} s"
    except RuntimeError as error:
        problem = f"ended the kernel ({error}); was there enough memory?"
    else:
        problem = None
    if problem:
        raise ChapterError(f"{chapter.name}: cell {number} of {total} {problem}")
    made.seconds = time.perf_counter() - began
    notebook.cells.remove(probe)
    made.peak_mib = float(probe.outputs[0].text)
    return made


def execute_all(
    chapters: Mapping[Chapter, str],
    finished: Callable[[Chapter, Execution], None],
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Run chapters side by side, ``machine.jobs()`` at a time.

    Args:
        chapters: what to run, in this order, and the line to print as each starts.
        finished: called in this thread as each ends without an error.
        environment: the environment variables of the kernels.

    Raises:
        ChapterError: after all others have run, if a cell of a chapter failed.
        ValueError: if ``JOBS`` is no whole number of at least 1.
    """
    if not chapters:
        return
    clients: list[NotebookClient] = []
    failures = []
    with Progress(len(chapters)) as progress, ThreadPoolExecutor(machine.jobs()) as pool:

        def run(chapter: Chapter) -> Execution:
            progress.say(chapters[chapter])
            return execute(
                chapter,
                environment,
                on_cell=lambda number, total: progress.at(chapter.name, number, total),
                on_client=clients.append,
            )

        running = {pool.submit(run, chapter): chapter for chapter in chapters}
        try:
            for future in as_completed(running):
                chapter = running[future]
                try:
                    made = future.result()
                except ChapterError as error:
                    failures.append(str(error))
                    progress.ended(chapter.name, str(error).partition("\n")[0])
                else:
                    finished(chapter, made)
                    done = f"{len(made.cells)} cells in {made.seconds:.1f} s"
                    progress.ended(chapter.name, f"{chapter.name}: {done}")
        except BaseException:  # an interrupt above all: no kernel may outlive the build
            pool.shutdown(wait=False, cancel_futures=True)
            _kill(clients, running)
            raise
    if failures:
        raise ChapterError("\n\n".join(failures))


def _kill(clients: Iterable[NotebookClient], running: Iterable[Future]) -> None:
    """End the clients' kernels, also those that are just starting, until nothing runs."""
    while not all(future.done() for future in running):
        for client in list(clients):
            process = getattr(getattr(client.km, "provisioner", None), "process", None)
            if process is not None:
                process.kill()
        time.sleep(0.05)


def outputs(notebook: nbformat.NotebookNode) -> Iterable[nbformat.NotebookNode]:
    """Return every output of every cell in order."""
    return (out for cell in notebook.cells for out in cell.get("outputs", []))
