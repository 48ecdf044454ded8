"""Who looked at whom, and why: one entry for each access, in a chain that shows what was changed later."""
