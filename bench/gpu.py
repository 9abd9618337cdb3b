"""What waits for a GPU, in one command. DATA_DIR holds wikitext2, tinystories, gpt1_bpe, gpt2_bpe (25 MB); no network.

    DATA_DIR=data python -m bench.gpu --minutes 8                  all rows in order of value, each in its share of time
    DATA_DIR=data python -m bench.gpu --minutes 8 --rows 1         one row, with all the time
    python -m bench.gpu --device cpu --rows account --minutes 30   afterwards: our account beside the measured memory
    python -m bench.gpu --device cpu --toy                         every row in toy sizes, to see that it works
Carry: the repository and the data. Packages: torch, numpy, safetensors, jaxtyping, tiktoken, tokenizers, regex.
Back come, in $OUT or --out: gpu.csv (a line per measurement), gpu.log, runs.zip (run folders without weights). Put them
into checkpoints/gpu: the next call goes on from there and skips what is done. A run that was cut off resumes where its
folder with state.pt is still there; from runs.zip alone it begins again.
"""

import os
import shutil
import sys
import threading
import time
import traceback
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lib.support.errors import Parser, UserError, named_path, one_line_errors

if TYPE_CHECKING:  # these wait for torch, and for packages that may be missing
    from bench.gpu_rows import Bench
    from bench.timed import Record

BEGUN = time.monotonic()
FOLDER = Path(__file__).resolve().parent.parent / "checkpoints" / "gpu"
PACKAGES = ("torch", "numpy", "safetensors", "jaxtyping", "tiktoken", "tokenizers", "regex")
NAMES = ["1", "2", "3", "4", "5", "6", "account"]


def take_up(folder: Path, earlier: Path) -> None:
    """Put what earlier calls brought back into the folder, but for what is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("gpu.csv", "gpu.log", "runs.zip"):
        if (earlier / name).exists() and not (folder / name).exists():
            shutil.copy(earlier / name, folder / name)
    if (folder / "runs.zip").exists():
        with zipfile.ZipFile(folder / "runs.zip") as archive:
            archive.extractall(folder, [n for n in archive.namelist() if not (folder / n).parent.exists()])


def run(rows: list[str], bench: "Bench", end: float) -> None:
    """Each row in its share of what is left. One that cannot work says why in a line, and the others go on."""
    from bench.gpu_rows import ROWS

    for i, row in enumerate(rows):
        measure, weight = ROWS[row]
        left = end - time.monotonic()
        share = left * weight / sum(ROWS[name][1] for name in rows[i:])
        bench.record.say(f"row {row}: at most {share:.0f} s")
        try:
            measure(bench, time.monotonic() + share)
        except UserError as error:
            bench.record.say(f"row {row} is left: {error}")
        except Exception:  # what only a GPU shows; the others are to go on
            bench.record.say(f"row {row} failed: {traceback.format_exc()}")
        bench.record.pack()


def give_up(record: "Record") -> None:
    """End the process at once; what was measured is on the disk."""
    record.say("the time is over")
    os._exit(1)


@one_line_errors
def main(argv: list[str] | None = None, begun: float | None = None) -> int:
    begun = begun or time.monotonic()
    parser = Parser(prog="python -m bench.gpu", description="Measure and train what waits for a GPU.")
    parser.add_argument("--minutes", type=float, default=8.0, help="the whole call takes no longer")
    parser.add_argument(
        "--rows", type=lambda names: names.split(","), help="which, with commas; default: all, account on a CPU"
    )
    parser.add_argument("--out", type=named_path, help="where to write; default: $OUT, or checkpoints/gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on a text of its own")
    args = parser.parse(argv)
    rows = args.rows or NAMES[: len(NAMES) - (args.device == "cuda")]
    if unknown := [row for row in rows if row not in NAMES]:
        raise UserError(f"--rows {unknown[0]}: must be of {', '.join(NAMES)}")
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"packages are missing: pip install {' '.join(missing)}")
    import torch

    from bench.gpu_rows import Bench
    from bench.timed import Record
    from lib.support import machine

    machine.check_device(args.device)
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    torch.set_flush_denormal(True)
    machine.keep_freed_memory()
    default = FOLDER.with_name("gpu_toy") if args.toy else FOLDER
    out = args.out or Path(os.environ.get("OUT") or default)
    take_up(out, default)
    record = Record(out, args.device)
    end = begun + 60 * args.minutes
    watch = threading.Timer(end - 2 - time.monotonic(), give_up, [record])
    watch.daemon = True
    watch.start()
    try:
        run(rows, Bench(record, out, args.device, args.toy), end - 10)
    finally:
        watch.cancel()
        torch.set_flush_denormal(False)
    return 0


if __name__ == "__main__":
    sys.exit(main(begun=BEGUN))
