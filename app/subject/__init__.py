"""Subject access: everything that is kept about one person, as files."""
