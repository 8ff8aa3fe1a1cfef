"""A stand-in for TensorFlow: tests fail if anything imports it."""
