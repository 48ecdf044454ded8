"""Hostile input for every parser, in numbers: `make fuzz` gives each 10,000; the suite gives each a few."""
