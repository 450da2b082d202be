"""The words everyone speaks: job specs, statuses, events, answers and errors. Pydantic and PyYAML only; never torch."""
