"""What runs show: statistics, cells of runs, characters, the inside of a network, memory."""
