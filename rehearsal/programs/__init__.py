"""Programs in the rehearsal's images that stand in for software which cannot be had; each says so in its log."""
