"""What a machine of the rehearsal installs as k3s, built from upstream's sources and served on this computer."""
