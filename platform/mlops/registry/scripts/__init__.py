"""What runs beside the registry: carried as text, never imported by the program."""
