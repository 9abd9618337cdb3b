"""`python -m lib.train NAME …`: train the runs of a named experiment that are not stored yet."""

import argparse
import signal
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lib.config import RunConfig
from lib.experiments.catalogue import EXPERIMENTS, HOMEWORK
from lib.methods import table
from lib.runs.cluster import ClusterConfig, Sweep
from lib.runs.run import CHECKPOINTS, Run, find, stored
from lib.support.errors import Parser, UserError, named_path, one_line_errors, suggestion
from lib.support.expressions import SIGNS
from lib.support.processes import STOP_SIGNALS, interrupt
from lib.training.folder import CONFIG, STATE, read_config


def parser() -> Parser:
    result = Parser(
        prog="python -m lib.train",
        description="Train the runs of a named experiment that are not stored yet.",
        epilog="A run cut off earlier goes on from its saved state. Results are those of one kind of processor: "
        "there they repeat to the last bit, elsewhere rounding leads a run apart. Defaults are those of a config; an "
        "experiment sets some of its own. Examples: python -m lib.train memorize; "
        "python -m lib.train recipe --seed 7 --checkpoints mine; python -m lib.train grokking --fresh",
        allow_abbrev=False,
    )
    again = "those of notebooks 01 to 05, but for grokking_slow, ablation_two_layers and the trials (…_tuning)"
    names = f"one of {', '.join(EXPERIMENTS)}; or all: {again}"
    result.add_argument("experiment", nargs="?", metavar="NAME", help=names)
    result.add_argument("--list", action="store_true", help="list the experiments and their runs, and stop")
    result.add_argument("--fresh", action="store_true", help="train all of them again")
    help = "runs at a time, one thread each (default: one per processor; with --cluster slurm 16)"
    result.add_argument("--workers", type=int, help=help)
    help = "so many runs of equal shapes at a time in one process, their products batched: for a GPU"
    result.add_argument("--stack", type=int, metavar="N", help=help)
    result.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    result.add_argument("--checkpoints", type=named_path, default=CHECKPOINTS, help="folder for the run folders")
    shown = "wandb or tensorboard, to show what is trained there as well; may be given twice"
    result.add_argument("--tracker", action="append", default=[], metavar="NAME", help=shown)
    help = "under torchrun: each process keeps only its part of the weights, for a network that does not fit"
    result.add_argument("--shard", action="store_true", help=help)
    help = "tell in one line how many runs are done, running, waiting and lost (their worker is gone), and stop"
    result.add_argument("--status", action="store_true", help=help)
    add_options(result.add_argument_group("cluster"), ClusterConfig.options())
    fields = result.add_argument_group("config fields", "set in every run of the experiment")
    options = RunConfig.options()
    options["optim.methods"] += f". {table.described()}"
    add_options(fields, options)
    return result


def add_options(group: Any, options: Mapping[str, str]) -> None:
    for name, help in options.items():
        metavar = name.rpartition(".")[2].upper()
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=metavar, help=help.replace("%", "%%"))


def show_experiments(root: Path) -> None:
    width = max(map(len, EXPERIMENTS))
    for name, make in EXPERIMENTS.items():
        about = make.__doc__.splitlines()[0]
        try:
            configs = make()
            others = [config for config in configs if find(name, config, root) is None]
            begun = (root / name).exists() and sum((root / name / config.id / STATE).exists() for config in others)
            counts = f"{len(configs) - len(others):3}/{len(configs)} stored" + f", {begun} begun" * (begun > 0)
            print(f"{name:{width}} {counts}   {about}")
        except UserError as error:
            print(f"{name:{width}} {error}")


@one_line_errors
def main(argv: list[str] | None = None) -> int:
    for kind in STOP_SIGNALS:
        signal.signal(kind, interrupt)
    args = vars(parser().parse(argv))
    name, changes = args["experiment"], {key: args[key] for key in RunConfig.options() if key in args}
    if args["list"]:
        show_experiments(args["checkpoints"])
        return 0
    known = {one: (one,) for one in EXPERIMENTS} | {"all": HOMEWORK}
    if name not in known:
        if name is None:
            raise UserError("which experiment? --list shows all, and --help all options")
        hint = suggestion(name, known)
        raise UserError(f"experiment {name}: " + (f"unknown{hint}" if hint else f"must be one of {', '.join(known)}"))
    if args["workers"] is not None and args["workers"] < 1:
        raise UserError(f"--workers {args['workers']}: must be at least 1")
    root = args["checkpoints"]
    plan = {each: changed(each, changes, root) for each in known[name]}
    where = ClusterConfig().override({key: args[key] for key in ClusterConfig.options() if key in args})
    if args["status"]:
        for each, configs in plan.items():
            print(f"{each}: {Sweep.of({each: configs}, root).status()}")
        return 0
    # what follows imports torch, for which --help and --list need not wait
    from lib.runs.stored import train_all
    from lib.support.machine import check_device
    from lib.training import distributed

    options = {name: args[name] for name in ("fresh", "workers", "device", "shard", "stack")}
    if where.cluster == "local":
        check_device(args["device"])
    with distributed.group(args["device"]):
        train_all(plan, **options, root=root, backends=args["tracker"], cluster=where.cluster, slurm=vars(where.slurm))
        done = []
        for each, configs in plan.items():
            runs, varied = [stored(each, config, root) for config in dict.fromkeys(configs)], telling(configs)
            for run in runs if distributed.rank() == 0 else []:
                fields = run.config.flat()
                print(f"{run.path}  {''.join(f'{name} {fields[name]!r}, ' for name in varied)}{result(run)}")
            done += runs
    if diverged := [f"run {run.path.name}: {run.divergence}" for run in done if run.diverged_at is not None]:
        raise UserError("; ".join(diverged))
    return 0


def result(run: Run) -> str:
    """What a run came to, in a few words."""
    nothing = ", at chance on its own train split" if run.at_chance else ""
    if run.config.data.task == "corpus":
        return f"val perplexity {run.metrics['val_ppl'][-1]:.4g}, {run.summary['tokens_per_s']:,.0f} tokens/s{nothing}"
    if run.config.data.task == "text":
        return f"train loss {run.summary['train_loss']:.2g}"
    reached = {"T_fit": run.t_fit, "T_grok": run.t_grok}
    return ", ".join(f"{name} {'not reached' if t is None else t}" for name, t in reached.items()) + nothing


def telling(configs: list[RunConfig]) -> list[str]:
    """The fields by which configs differ, but for those that tell no more of them apart than the fields before."""
    rows, kept, apart = [config.flat() for config in configs], [], 1
    for name in rows[0]:
        groups = len({tuple(row[field] for field in (*kept, name)) for row in rows})
        if groups > apart:
            kept, apart = [*kept, name], groups
    return kept


LENGTH = ("train.max_steps", "optim.fall_steps")


def changed(experiment: str, changes: dict[str, Any], root: Path) -> list[RunConfig]:
    """The configs of an experiment with the changes that the command line asks for, and what they entail in words.

    A schedule that ended with a preset's last step ends with the new one, unless its length is set, too.
    """
    configs, told = [], []
    there = {but_for_length(read_config(path)) for path in (root / experiment).glob(f"*/{CONFIG}") if changes}
    for base in EXPERIMENTS[experiment]():
        config = base.override(changes)
        if base.optim.fall_steps == base.train.max_steps != config.train.max_steps:
            config = base.override({"optim.fall_steps": 0} | changes)
        configs.append(config)
        fall, last, final = config.optim.fall_steps, config.train.max_steps, config.optim.final_lr
        if {*LENGTH, "optim.final_lr"} & {*changes} and 0 < fall < last:
            told.append(f"the learning rate has fallen to {final:.0%} at optim.fall_steps = {fall} of {last} steps")
        if changes and (n := without_answer(config.data.operation, config.data.p)):
            left_out = f"{n:,} of {config.data.p**2:,} pairs are left out: they have no answer modulo {config.data.p}"
            told.append(f"data.operation = {config.data.operation}: {left_out}")
        if changes and config != base and find(experiment, base, root) is not None:  # in an archive, perhaps
            there.add(but_for_length(base))
        begun = (root / experiment / config.id / CONFIG).exists() or find(experiment, config, root) is not None
        if but_for_length(config) in there and not begun:
            told.append("runs of another train.max_steps are there, and are not lengthened: these begin at step 0")
    for line in dict.fromkeys(told):
        print(f"{experiment}: {line}", file=sys.stderr)
    return configs


def but_for_length(config: RunConfig) -> frozenset[tuple[str, Any]]:
    """A config's fields, without those that tell how long the run is."""
    return frozenset((name, value) for name, value in config.flat().items() if name not in LENGTH)


@cache
def without_answer(operation: str, p: int) -> int:
    """How many pairs an expression leaves out, because it divides by what has no inverse modulo p."""
    from lib.tasks import equations

    return 0 if operation in SIGNS else p**2 - len(equations(operation, p))


if __name__ == "__main__":
    sys.exit(main())
