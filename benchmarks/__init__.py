"""Measurements of the service on the machine at hand. `make bench` runs them all and prints one table with its conditions."""
