"""How the network is built and trained, and what its own tests accept."""

HIDDEN = (96,)
"""Width of each hidden layer."""
EPOCHS = 60
LEARNING_RATE = 0.003
SEED = 6
"""Of the first weights and of the batches: the same revision gives the same model."""

LEAST_ACCURACY = 0.95
"""On pictures that the training has not seen."""
PARAMETERS = (1_000, 20_000)
"""Fewest and most numbers to learn."""
