"""What runs in the pods of the log analysis: programs with the standard library only, mounted as files."""
