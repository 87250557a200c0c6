"""Container images of the platform, made on this computer, and the registry that machines pull them from."""
