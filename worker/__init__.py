"""The worker: claims jobs from the database, runs each in a trainer process of its own, and writes down what it says."""
