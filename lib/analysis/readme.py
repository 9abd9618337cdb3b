"""The README's table of results, from results.json."""

from typing import Any

from lib.analysis.cells import MILESTONES, interval
from lib.analysis.comparison import ranged
from lib.analysis.results import results
from lib.support.errors import UserError
from lib.support.files import ROOT, write_atomically

STEPS = {name: text for name, text in MILESTONES.items() if name != "seconds"}


def results_table(results: dict[str, Any]) -> list[str]:
    """The README's table of results: a row per result, each with the command that repeats it."""
    sanity, warm_up, grokking, ablation, inside = (
        results[key] for key in ("sanity", "add_sub", "grokking", "ablation", "inside")
    )
    exact, masked = sanity["exact_of_100"], sanity["masked_exact_of_100"]
    rows = [
        ("One layer memorises a sentence", f"loss {sanity['loss']:.1e}; {exact} of 100 samples exact", "memorize"),
        (
            "… with the loss masked on the first 3 tokens",
            f"loss {sanity['masked_loss']:.1e}; given those, {masked} of 100 exact",
            "memorize_masked",
        ),
    ]
    for name, cells, experiment in (
        ("+ and − mod 97 and 113, 1 and 2 layers", warm_up["cells"], "add_sub"),
        ("… a token per digit, mod 97", warm_up["characters"], "add_sub_characters"),
        ("… plain Adam, + mod 97, 1 layer", {"Adam": warm_up["adam"]["Adam"]}, "add_sub_adam"),
    ):
        worst = min(cell["test_acc"][1] for cell in cells.values())
        n, done = (sum(cell[key] for cell in cells.values()) for key in ("n", "done"))
        told = f"{done} of {n} runs at least 99.9 % of the test split right; lowest {worst:.2%}"
        rows.append((name, told, experiment))
    for key, name, experiment in (
        ("starter", "Division mod 97, the starter's network", "grokking"),
        ("starter_little", "… with weight decay 0.1", "grokking"),
        ("starter_large", "… with the paper's initial weights", "grokking_init"),
        ("paper", "Division mod 97, the paper's network", "grokking"),
        ("paper_little", "… with weight decay 0.1", "grokking_slow"),
        ("slow", "… with Adam and no weight decay", "grokking_slow"),
    ):
        told = ", ".join(f"{text} {median_with_range(grokking[key], t)}" for t, text in STEPS.items())
        rows.append((name, told, experiment))
    one, two = (ablation["networks"][title]["baseline"]["baseline"] for title in ("one layer", "two layers"))
    for name, cell, experiment in (
        ("The ablation's baseline, one layer (AdamW)", one, "ablation"),
        ("… two layers, the starter's network", two, "ablation_two_layers"),
        ("The recipe that it leads to, for two layers", ablation["recipe"], "recipe"),
    ):
        milestones = ", ".join(f"{text} {interval(*cell[t])}" for t, text in STEPS.items())
        lowest = f"lowest test accuracy {cell['lowest']:.1%}, followed to {cell['after']:.1f} × T_grok or more"
        told = f"{cell['grokked']} of {cell['n']} seeds; {milestones}; {cell['seconds'][0]:.1f} s; {lowest}"
        rows.append((name, told, experiment))
    middle, low, high = inside["ratio"]
    times = " and ".join(interval(*cell["t_grok"]) for cell in inside["tasks"].values())
    told = f"T_grok {times}; ratio of geometric means {middle:.2f} [{low:.2f}–{high:.2f}]"
    rows.append(("Division mod 97 without 0, subtraction mod 96", told, "isomorphism"))
    spectra = " and ".join(f"{inside['networks']['1 layer'][name]:.2f}" for name in ("gini", "gini_integers"))
    rows.append(("Spectrum of the embedding: Gini, along logarithms and integers", spectra, "mechanism"))
    rows += language_rows(results)
    head = ["| what | result | repeat it with `python -m lib.train …` |", "| --- | --- | --- |"]
    return head + [f"| {what} | {told} | `{name} --fresh` |" for what, told, name in rows]


def median_with_range(runs: dict[str, Any], key: str) -> str:
    """ "400 (390–480)": Kaplan-Meier median and range, which is open where a run did not get there."""
    middle, values = runs["medians"][key], [run[key] for run in runs["runs"]]
    if middle is None:
        return f"not reached within {runs['runs'][0]['steps']:,}"
    if len(values) == 1:
        return f"{middle:,.0f}"
    reached = [value for value in values if value is not None]
    top = f"{max(reached):,}" if len(reached) == len(values) else "not reached"
    return f"{middle:,.0f} ({min(reached):,}–{top})"


def language_rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of the language models: what, result, experiment."""
    twelve, stories, small = results["lstm_vs_gpt"], results["tinystories"]["cells"], results["gpt2"]["small"]

    def lowest(cells: dict[str, Any], numbers: str) -> str:
        """The test perplexity of the cell that the validation split prefers."""
        return ranged(min((cells[number] for number in numbers), key=lambda cell: cell["val_loss"][0])["test_ppl"])

    common, own = (
        f"test perplexity LSTM {lowest(twelve[k], '1234')}, GPT {lowest(twelve[k], '5678')}" for k in ("cells", "fair")
    )
    best = min(stories, key=lambda name: stories[name]["val_loss"][0])
    told = ", ".join(f"{name} {ranged(stories[name]['val_loss'], 3)}" for name in dict.fromkeys(("baseline", best)))
    gpt2 = f"validation perplexity {small['val_ppl'][0]:.1f}, {small['val_bpb'][0]:.2f} bits per byte"
    floor = f"unigram {twelve['cells']['1']['test_floor']:.0f}"
    return [
        ("A part of WikiText-2, one layer, learning rate 0.001", f"{common}; {floor}", "lstm_vs_gpt"),
        ("… each optimiser at its own rate", own, "lstm_vs_gpt_tuned"),
        ("TinyStories, a small model", f"validation loss {told} nats per token", "tinystories"),
        ("GPT-2 scaled down, on TinyStories", gpt2, "gpt2_small"),
        ("GPT-2 medium; large; 07 and 08 in full size", "not run: they take a GPU", "gpt2_medium --device cuda"),
    ]


def fill_readme() -> None:
    """Put the table of results between the README's two marks."""
    path = ROOT / "README.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->\n")
    if not (begin and end):
        raise UserError(f"{path}: has lost a mark of its table, <!-- results --> or <!-- end of results -->")
    table = "\n".join(results_table(results())) + "\n"
    write_atomically(path, before + begin + table + end + after)
