"""Small transformers that memorise, generalise and grok. The map of the house is in README.md."""
