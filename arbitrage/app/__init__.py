"""The composition root: command line, modes, tasks and signals. Calculates nothing about money."""
