"""Books, doubt and the venue's rules per market. Calculates from events alone: no clock, no socket, no log."""
