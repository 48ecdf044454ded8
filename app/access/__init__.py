"""Who may do what: keys with scopes and collections, limits of their use."""
