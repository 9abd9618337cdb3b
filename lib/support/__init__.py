"""What every room uses: errors and options, files and locks, processes, the machine."""
