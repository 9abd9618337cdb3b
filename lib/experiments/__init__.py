"""Named lists of configs, with the reason beside each number."""
