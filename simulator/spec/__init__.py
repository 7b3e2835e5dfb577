"""What a user writes down: frozen pydantic models, loaders, and one-line errors."""
