"""Cycles in one graph of inventory: found, screened, sized. Judges no risk and sends nothing."""
