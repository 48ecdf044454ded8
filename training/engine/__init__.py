"""The loop and what it is made of. The rooms below know nothing of it, so that each can be tried without a run."""
