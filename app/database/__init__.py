"""Tables, sessions and the migration runner: the truth that every index is a view of."""
