"""The engine: PyTorch, one loop, and nothing of SQL, HTTP, Celery or environment variables."""
