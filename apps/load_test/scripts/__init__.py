"""What runs in Locust's image: carried as text, never imported by the program."""
