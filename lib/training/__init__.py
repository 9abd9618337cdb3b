"""One run: its folder, tracker, weights, state, back ends, shared prefixes, several processes."""
