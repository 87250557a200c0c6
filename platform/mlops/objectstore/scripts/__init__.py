"""Programs of our Jobs: mounted as text under the same module names, and run with the standard library alone."""
