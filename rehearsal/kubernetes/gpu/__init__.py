"""What stands in for NVIDIA's software on a machine, beside its driver (`rehearsal/cloud/services/nvidia-smi`)."""
