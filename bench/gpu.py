"""What waits for a GPU, in one command: `python -m bench.gpu --minutes 8`.

Before: DATA_DIR names a folder with wikitext2, tinystories, gpt1_bpe and gpt2_bpe, 25 MB; the machine needs no network.
    DATA_DIR=data python -m bench.gpu --minutes 8                  all rows in order of value, each in its share of time
    DATA_DIR=data python -m bench.gpu --minutes 9 --rows 1         one row, with all the time
    python -m bench.gpu --device cpu --rows account --minutes 30   afterwards: our account beside the measured memory
    python -m bench.gpu --device cpu --toy                         every row in toy sizes, to see that it works
Carry: the repository and that folder. Packages: torch, numpy, safetensors; for text tiktoken, tokenizers, regex.
Back come, in $OUT or --out: gpu.csv (a line per measurement), gpu.log, runs.zip (the run folders without weights).
Put these three into checkpoints/gpu: the next call goes on from there, and skips what is done. Runs that were cut off
resume where their folder is still there with its state.pt; from runs.zip alone they begin again.
"""

import importlib.util
import os
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

BEGUN = time.monotonic()

if TYPE_CHECKING:  # these import packages that may be missing here
    from bench.record import Record
    from bench.rows import Bench

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints" / "gpu"
ENCODERS = ("tiktoken", "tokenizers", "regex")
NAMES = ("1", "2", "3", "4", "5", "6", "account")


def stand_ins() -> list[str]:
    """Has stand-ins take the place of missing packages that equations do without; the encoders that are missing."""
    missing = [name for name in (*ENCODERS, "jaxtyping") if importlib.util.find_spec(name) is None]
    for name in missing:
        sys.modules[name] = sys.modules[f"{name}.models"] = MagicMock()
    return [name for name in missing if name in ENCODERS]


def parse(argv: list[str] | None) -> Namespace:
    from lib.support.errors import Parser, named_path

    parser = Parser(prog="python -m bench.gpu", description="Measure and train what waits for a GPU.")
    parser.add_argument("--minutes", type=float, default=8.0, help="the whole call takes no longer")
    parser.add_argument("--rows", default=",".join(NAMES), help="which, in this order, with commas: %(default)s")
    parser.add_argument("--out", type=named_path, help="where to write; default: $OUT, or checkpoints/gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on a text of its own; apart from the others")
    args = parser.parse(argv)
    args.rows = args.rows.split(",")
    if unknown := [row for row in args.rows if row not in NAMES]:
        parser.error(f"--rows: no row {unknown[0]!r}; must be of {', '.join(NAMES)}")
    default = FOLDER.with_name("gpu_toy") if args.toy else FOLDER
    args.out = args.out or (Path(os.environ["OUT"]) if os.environ.get("OUT") else default)
    return args


def possible(rows: list[str], missing: list[str], bench: "Bench") -> list[str]:
    """The rows that can be run here; of each other one a line says what it waits for."""
    from bench.rows import OF_CORPORA, STACKED

    reasons = {}
    if importlib.util.find_spec("lib.training.stack") is None:
        reasons |= dict.fromkeys(STACKED, "stacked training")
    if missing and not bench.is_toy:
        reasons |= dict.fromkeys(OF_CORPORA, f"packages: pip install {' '.join(missing)}")
    for row in rows:
        if row in reasons:
            bench.record.say(f"row {row} waits for {reasons[row]}")
    return [row for row in rows if row not in reasons]


def run(rows: list[str], bench: "Bench", end: float) -> None:
    """Each row in its share of what is left. One that cannot work says why, and the others go on."""
    import torch

    from bench.rows import ROWS, WEIGHTS
    from lib.support.errors import UserError

    for i, row in enumerate(rows):
        now = time.monotonic()
        until = now + (end - now) * WEIGHTS[row] / sum(WEIGHTS[name] for name in rows[i:])
        bench.record.say(f"row {row}: {until - now:.0f} s")
        try:
            ROWS[row](bench, until)
        except (UserError, torch.OutOfMemoryError) as error:
            bench.record.say(f"row {row} is left: {str(error).splitlines()[0]}")
        bench.record.pack()


def give_up(record: "Record") -> None:
    """End the process at once: what was measured is on the disk."""
    record.say("the time is over")
    record.pack()
    os._exit(1)


def main(argv: list[str] | None = None, begun: float | None = None) -> int:
    begun = begun or time.monotonic()
    missing = stand_ins()
    args = parse(argv)
    import torch

    from bench.record import Record, take_up
    from bench.rows import Bench
    from lib.support import machine
    from lib.support.errors import one_line_errors

    @one_line_errors
    def command() -> int:
        machine.check_device(args.device)
        if args.device == "cpu":
            torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        machine.keep_freed_memory()
        args.out.mkdir(parents=True, exist_ok=True)
        take_up(args.out, args.out if args.toy else FOLDER)
        record = Record(args.out, args.device)
        seconds = 60 * args.minutes - (time.monotonic() - begun)
        watch = threading.Timer(seconds - 2, give_up, [record])
        watch.daemon = True
        watch.start()
        try:
            bench = Bench(record, args.out, args.device, args.toy)
            run(possible(args.rows, missing, bench), bench, begun + 60 * args.minutes - 10)
        finally:
            watch.cancel()
        record.say("done")
        return 0

    return command()


if __name__ == "__main__":
    sys.exit(main(begun=BEGUN))
