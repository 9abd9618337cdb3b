"""Many runs: open them, find them, train the missing ones, keep a sweep in one archive."""
