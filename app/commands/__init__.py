"""The verbs of `descry`, one module for each group."""
