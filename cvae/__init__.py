"""A Hydra-configured sweep framework around a character-level LSTM conditional VAE."""

__version__ = "0.1.0"
