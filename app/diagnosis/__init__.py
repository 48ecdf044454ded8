"""What may be wrong with an installation and its data, looked at without changing anything."""
