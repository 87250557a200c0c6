"""What runs in Ray's image beside Ray: carried as text, never imported by the program."""
