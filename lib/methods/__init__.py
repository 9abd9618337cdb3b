"""Methods said to make grokking faster or steadier: each a few lines around a step of the optimiser."""
