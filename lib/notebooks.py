"""`python -m lib.notebooks`: execute the notebooks headlessly with papermill, and keep what is the same every time.

As many at once as there are processors: none needs what another writes, as long as all runs are stored.
"""

import base64
import io
import json
import os
import signal
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from PIL import Image
from traitlets.config import Config

from lib.analysis import address
from lib.figures.words import picture
from lib.support.errors import Parser, UserError, first_line, one_line_errors, shortened
from lib.support.files import ROOT, write_atomically
from lib.support.processes import default_workers

NOTEBOOKS = ROOT / "notebooks"
# the channel to the kernel encrypted where Jupyter can, which also spares a warning for each notebook
ENCRYPTED = Config({"KernelManager": {"transport_encryption": "auto"}})


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from one execution to the next: times, papermill's and widgets' metadata, progress lines.

    Cells that papermill injected go too, so that the notebook keeps its own parameters.
    """
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    kept = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in kept:
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
    for count, cell in enumerate((cell for cell in kept if cell.cell_type == "code"), 1):
        cell.execution_count = count
        cell.outputs = merge_streams([out for out in cell.outputs if lasts(out)])
        for out in cell.outputs:
            if "execution_count" in out:
                out.execution_count = count
            if "image/png" in out.get("data", {}):
                png = out.data["image/png"] = with_palette(out.data["image/png"])
                if alt := out.metadata.get("image/png", {}).get("alt"):
                    out.data["text/html"] = picture(png, alt)
    notebook.cells = kept
    return notebook


def with_palette(png: str) -> str:
    """A picture with 256 colours, in base64: a third of the bytes. A picture that has a palette stays as it is."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode() + "\n"


def lasts(output: nbformat.NotebookNode) -> bool:
    """Whether an output means anything later: progress lines do not, nor does a widget, which ends with its kernel."""
    return output.get("name") != "stderr" and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join neighbouring pieces of printed text: where the kernel cuts it is a matter of timing."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook in a file. Raises UserError if it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)  # which says where the fault is
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        return notebook
    except Exception as error:  # a file without cells, or of a later format, comes out as this or that
        raise UserError(f"{path.name}: not a whole notebook ({first_line(error)}); restore it with git") from None


def execute(path: Path) -> nbformat.NotebookNode:
    """A notebook run from its own folder, and normalised.

    Raises UserError, naming notebook and cell, if the notebook cannot be read or begun, if a cell fails or is never
    reached, or if the kernel dies.
    """
    begun: list[str] = []

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        begun.append(f"cell {len(begun) + 1}, {shortened(cell.source.strip().splitlines()[0])},")

    options = {"kernel_name": "python3", "progress_bar": False, "config": ENCRYPTED, "on_cell_execute": begin}
    try:
        notebook = papermill.execute_notebook(read(path), None, cwd=path.parent, **options)  # as Jupyter does
    except papermill.PapermillExecutionError as error:
        raise UserError(f"{path.name}: {begun[-1]} failed with {error.ename}: {first_line(error.evalue)}") from None
    except (NoSuchKernel, RuntimeError, OSError) as error:
        if begun:
            what = f"{begun[-1]} lost its kernel ({first_line(error)}), perhaps for want of memory"
            todo = f"free some, and run it alone: python -m lib.notebooks {path.stem}"
        else:
            what = f"its kernel did not start ({first_line(error)})"
            todo = f"install it anew: {sys.executable} -m pip install --force-reinstall ipykernel"
        raise UserError(f"{path.name}: {what}; {todo}") from None
    if "failed" in {cell.metadata.papermill.status for cell in notebook.cells}:
        raise UserError(f"{path.name}: {begun[-1]} ended the notebook early; must run to its last cell")  # sys.exit(0)
    return normalise(notebook)


def renew(path: Path) -> float:
    """Execute a notebook and write it back; the seconds that it took. If it fails, the file stays as it was."""
    begun = time.monotonic()
    write_atomically(path, nbformat.writes(execute(path)) + "\n")
    return time.monotonic() - begun


@one_line_errors
def main() -> int:
    parser = Parser(prog="python -m lib.notebooks", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", default=[""], help="beginnings of file names, such as 01 04 (default: all)")
    told = "execute none; write where this folder is at GitHub into all set-up cells, Colab's badges and the README"
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--address", metavar=address.PLACEHOLDER, help=told)
    told = "execute none; write them into a folder of the project, with stubs for the tasks or with their solutions"
    instead.add_argument("--edition", nargs=2, metavar=("student|teacher", "FOLDER"), help=told)
    told = "execute none; write them and an index as web pages into html/"
    instead.add_argument("--html", action="store_true", help=told)
    args = parser.parse(None)
    paths = sorted(path for path in NOTEBOOKS.glob("*.ipynb") if path.name.startswith(tuple(args.names)))
    if not paths:
        raise UserError(f"no notebook begins with {' or '.join(args.names)}")
    if args.address is not None:
        if args.names != [""]:
            raise UserError(f"--address: goes into all notebooks; leave out {' '.join(args.names)}")
        changed = address.set_address(args.address, {path: read(path) for path in paths})
        print("\n".join(f"{path.name} changed" for path in changed) or "nothing to change: all have this address")
        return 0
    if args.html:
        if args.names != [""]:
            raise UserError(f"--html: makes pages of all notebooks; leave out {' '.join(args.names)}")
        from lib.course import pages

        print(pages.write({path: read(path) for path in paths}))
        return 0
    if args.edition is not None:
        from lib.course import editions  # with torch, for which nothing else here waits

        kind, folder = args.edition
        print(*editions.write({path: read(path) for path in paths}, kind, folder), sep="\n")
        return 0
    # silences a warning of the kernel's debugger, and what PyTorch's profiler says
    os.environ |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "KINETO_LOG_LEVEL": "9"}
    failed = {}
    at_ctrl_c = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}  # a worker ends in silence
    with ProcessPoolExecutor(min(len(paths), default_workers("cpu")), **at_ctrl_c) as pool:
        running = {pool.submit(renew, path): path for path in paths}
        for done in as_completed(running):
            try:
                print(f"{running[done].stem} {done.result():.0f} s", flush=True)
            except CancelledError:
                pass
            except (UserError, BrokenProcessPool) as error:
                pool.shutdown(wait=False, cancel_futures=True)  # begin no other
                failed[running[done].name] = error
    if any(isinstance(error, BrokenProcessPool) for error in failed.values()):
        what = "not executed: a process was killed, perhaps for want of memory"
        raise UserError(f"{', '.join(failed)}: {what}; run one at a time, as by python -m lib.notebooks 01")
    if failed:
        raise UserError("; ".join(map(str, failed.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
