"""Small transformers that memorise, generalise and grok.

The first reading, one hour, in this order: config, tokenizer, tasks, data (what a run is, and what the network sees);
model (skip cache.py at first), optim, objective, loop (what one step does); sampling (what comes of it). These modules
import each other, numpy, torch, jaxtyping, and lib.support.

The rooms, later: training (one run and its folder), methods (said to help), language (notebooks 07 to 09), experiments
(named lists of configs), runs, analysis, figures, course. Commands: train, inference, export, report, notebooks.
"""
