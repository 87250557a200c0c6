"""What runs in MLflow's image beside MLflow: carried as text, never imported by the program."""
