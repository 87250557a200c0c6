"""Programs of the Git server, carried into its pod as text."""
