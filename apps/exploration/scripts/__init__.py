"""What runs in the page's image: carried as text, never imported by the program."""
