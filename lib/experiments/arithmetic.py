"""Notebooks 01 to 04: memorise a sentence, add and subtract, grok division. Each function returns its runs' configs."""

from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.experiments.presets import ADD_SUB, CHARACTERS, DIVISION, DIVISION_POWER, UNTIL_SOLVED, seeds, sweep, trials

MEMORIZE = RunConfig(
    data=DataConfig(task="text"),
    model=ModelConfig(n_layers=1, n_heads=4, d_model=64, d_ff=256, context_length=24),  # 23 characters and <bos>
    optim=OptimConfig(lr=1e-3, weight_decay=0.0),  # no decay: nothing is to be found but the sentence
    train=TrainConfig(batch_size=1, max_steps=1000, eval_every=5),  # the loss is below 1e-4 from step 632 on
)
TRIALS = [  # each changes one number of ADD_SUB; lr 1e-3 is ADD_SUB itself
    *({"optim.lr": lr} for lr in (5e-4, 1e-3, 2e-3)),
    *({"optim.weight_decay": decay} for decay in (0.1, 1.0)),
    {"optim.warmup_steps": 10},
]
# optimiser and rate by trial (add_sub_characters_tuning)
DIGITS = ADD_SUB.override(CHARACTERS | {"optim.name": "muon", "optim.lr": 1e-2, "optim.weight_decay": 1.0})
NO_DECAY = {"optim.name": "adam", "optim.weight_decay": 0, "optim.decay": "matrices"}
# the table of answers at steps 1.5 times apart; evaluations 3 % of the step apart are enough for a log axis
KEEP_ANSWERS = {"train.keep_answers": True, "train.eval_growth": 1.03}


def memorize() -> list[RunConfig]:
    """One layer memorises "I love machine learning"."""
    return [MEMORIZE]


def memorize_masked() -> list[RunConfig]:
    """The same, with the first 3 tokens left out of the loss."""
    return [MEMORIZE.override({"data.skip_loss": 3})]


def memorize_lr() -> list[RunConfig]:
    """Lesson: four learning rates."""
    return [MEMORIZE.override({"optim.lr": lr}) for lr in (1e-3, 3e-4, 1e-4, 1e-5)]  # from enough to far too small


def memorize_context() -> list[RunConfig]:
    """Lesson: contexts shorter than the sentence. Three characters are enough to know the place in the sentence."""
    return [windows(size, batch_size=16) for size in (1, 2, 3, 8)]


def memorize_batch() -> list[RunConfig]:
    """Lesson: four batch sizes, out of the 17 windows of 8 tokens."""
    return [windows(8, batch_size) for batch_size in (1, 2, 4, 17)]


def windows(size: int, batch_size: int) -> RunConfig:
    """MEMORIZE on pieces of the sentence of `size` tokens, by a network that can read no more."""
    changes = {"data.window": size, "model.context_length": size, "train.batch_size": batch_size}
    return MEMORIZE.override(changes | {"train.max_steps": 500})  # within 0.02 nats of the floor


def add_sub_tuning() -> list[RunConfig]:
    """The warm-up's hyper-parameters, chosen on the validation split of one of its cells, in fewer steps."""
    short = {"train.max_steps": 1000, "optim.fall_steps": 1000}
    # the cell that was expected to be the hardest
    cell = ADD_SUB.override({"data.operation": "-", "data.p": 113} | short)
    return trials(cell, TRIALS)


def add_sub() -> list[RunConfig]:
    """The warm-up: + and -, p = 97 and 113, 1 and 2 layers, 3 seeds each."""
    cells = [{"data.operation": o, "data.p": p, "model.n_layers": n} for o in "+-" for p in (97, 113) for n in (1, 2)]
    return sweep(ADD_SUB, cells, 3)


def add_sub_characters_tuning() -> list[RunConfig]:
    """Optimiser and learning rate where a token is a digit, chosen on the validation split of subtraction."""
    tried = (("adamw", 3e-3), ("muon", 1e-2), ("muon", 2e-2))
    return trials(DIGITS, [{"data.operation": "-", "optim.name": name, "optim.lr": lr} for name, lr in tried])


def add_sub_characters() -> list[RunConfig]:
    """The warm-up with a token per digit, so that equations differ in length: p = 97."""
    cells = [{"data.operation": o, "model.n_layers": n} for o in "+-" for n in (1, 2)]
    return sweep(DIGITS, cells, 3)


def add_sub_adam() -> list[RunConfig]:
    """The handout's plain Adam, without decay, on the warm-up's easiest case."""
    adam = {"optim.name": "adam", "optim.weight_decay": 0.0, "data.operation": "+", "model.n_layers": 1}
    return seeds(ADD_SUB, adam, 3)


def grokking() -> list[RunConfig]:
    """Division mod 97: the starter's network and the paper's, and the starter's with little decay and with none."""
    # about three times the slowest T_grok of the starter, and a half more than that of the paper's network
    starter, paper = DIVISION.override({"train.max_steps": 1500}), DIVISION_POWER.override({"train.max_steps": 6000})
    little = starter.override({"optim.weight_decay": 0.1, "train.max_steps": 3000} | UNTIL_SOLVED)
    none = starter.override(NO_DECAY | {"train.max_steps": 6000} | UNTIL_SOLVED)  # one seed takes its time
    return [run for config in (starter, paper, little, none) for run in seeds(config, KEEP_ANSWERS, 3)]


def grokking_init() -> list[RunConfig]:
    """The control: the starter's network with the paper's initial weights, and nothing else changed."""
    control = {"model.init": "torch", "train.max_steps": 6000}  # T_grok is some 4,300
    return seeds(DIVISION, control | {"train.eval_growth": 1.03}, 5)


def grokking_slow() -> list[RunConfig]:
    """The paper's network with Adam and no decay, as in the paper's Figure 1, and with weight decay 0.1 (hours)."""
    # a tenth of the paper's 10⁶ steps, which take a GPU
    paper = DIVISION_POWER.override({"train.max_steps": 100_000, "train.eval_every": 10, "train.eval_growth": 1.02})
    return [paper.override(NO_DECAY), paper.override({"optim.weight_decay": 0.1} | UNTIL_SOLVED)]
