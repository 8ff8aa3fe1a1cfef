"""Owns the plan of a run, made before any machine is rented: what the true compiler says of the true step."""
