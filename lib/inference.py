"""`python -m lib.inference PATH [N]`: sample from a checkpoint, or ask it for the answers to equations."""

import sys

from lib.support.errors import Parser, UserError, named_path, one_line_errors

DEFAULT_TOKENS = 100  # a text model's sample, if N is not given
DEFAULT_EQUATIONS = 10


def parser() -> Parser:
    result = Parser(
        prog="python -m lib.inference",
        description="Sample from a checkpoint: text, or the answers to equations.",
        allow_abbrev=False,
    )
    result.add_argument("path", type=named_path, metavar="PATH", help="a run folder, or its weights file")
    n_help = f"text: tokens at most (default {DEFAULT_TOKENS}); equations: how many random ones ({DEFAULT_EQUATIONS})"
    result.add_argument("n", metavar="N", nargs="?", type=int, help=n_help)
    result.add_argument("--prompt", help='text to continue, or an equation to answer, such as "12/5="')
    result.add_argument("--temperature", type=float, help="text: 0 takes the likeliest (default 1)")
    result.add_argument("--top-k", type=int, help="text: draw from the k likeliest tokens only")
    result.add_argument("--samples", type=int, help="text: how many (default 1)")
    special = "text: what <|endoftext|> in the prompt is: refuse it (default), text, or token"
    result.add_argument("--special", help=special)
    result.add_argument("--seed", type=int, help="makes the sample, or the choice of equations, repeatable")
    result.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    return result


@one_line_errors
def main(argv: list[str] | None = None) -> int:
    args = parser().parse(argv)
    # what follows imports torch, for which --help need not wait
    from lib.analysis.equations import describe_answer, parse_equation, random_equations
    from lib.language.bpe import Separated
    from lib.runs.named import load
    from lib.sampling import answer_probabilities, sample
    from lib.support.machine import check_device

    check_device(args.device)
    if args.n is not None and args.n < 1:
        raise UserError(f"N = {args.n}: must be at least 1")
    model, tokenizer, config = load(args.path, args.device)
    if config.data.task != "arithmetic":
        options = {name: getattr(args, name) for name in ("samples", "temperature", "top_k", "seed")}
        given = {name: value for name, value in options.items() if value is not None}
        prompt = args.prompt or ""
        if args.special is not None:
            if not isinstance(tokenizer, Separated):
                raise UserError(f"special = {args.special!r}: must be left out for a network without byte pairs")
            prompt = tokenizer.encode(prompt, args.special)
        for text in sample(model, tokenizer, prompt, args.n or DEFAULT_TOKENS, **given):
            print(text)
    else:
        for name in ("samples", "temperature", "top_k", "special"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name.replace('_', '-')}: for text models only; this one answers equations")
        if args.prompt is not None:
            pairs = [parse_equation(config.data, args.prompt)]
        else:
            pairs = random_equations(config.data, args.n or DEFAULT_EQUATIONS, args.seed)
        for a, b in pairs:
            print(describe_answer(config, a, b, answer_probabilities(model, tokenizer, config.data, a, b)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
