"""Programs that stand in for what of the Argo projects cannot be had, or is not built."""
