"""Pure Python: the model, its errors, and every policy that needs no database."""
