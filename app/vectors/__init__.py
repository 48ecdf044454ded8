"""Vector indexes: the contract, the FAISS engine, and the views that follow the database's log."""
