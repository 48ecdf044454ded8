"""How a run meets its machine: its folder, its device, and the other processes that train with it."""
