"""From a commit to a model in production: builds, environments, workflows, promotion and revert."""
