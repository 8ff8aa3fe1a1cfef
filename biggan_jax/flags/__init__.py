"""The flags of each command, and checks of them alone, before jax is imported."""
