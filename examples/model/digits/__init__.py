"""What the trainer and the model server both know: pictures, the network, and what a release is."""
