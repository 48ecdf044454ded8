"""The recipes that are shipped, and those sections of `training.recipe` that have a file of their own."""
