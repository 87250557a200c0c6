"""The Argo projects: what Git says is what runs (cd), pipelines (workflows), and what starts them (events)."""
