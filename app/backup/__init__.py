"""Backups: one consistent copy of database, pictures and checkpoints, and the way back."""
