"""Importing this module has the annotated shapes of the first reading checked at every call, while the tests run.

conftest.py imports it before anything of lib, because a module that is imported already stays unchecked. lib.config has
no shapes, and checks its values itself.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

CHECKED = ("cache", "data", "loop", "model", "objective", "optim", "sampling", "tasks", "tokenizer")
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # as mypy has it, an int may stand for a float
install_import_hook([f"lib.{name}" for name in CHECKED], "checked_shapes.checked")
