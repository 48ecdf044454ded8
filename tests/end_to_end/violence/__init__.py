"""Real processes, killed and starved; and what must be true of a gallery afterwards."""
