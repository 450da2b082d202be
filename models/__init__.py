"""The store: tables, sessions, blobs, and the one place that changes a job's status. Knows nothing of HTTP or training."""
