"""`python -m training`: the verbs of the offline package."""

from training.cli import main

main()
