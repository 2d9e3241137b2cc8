"""Prefect flows over the DVC pipeline: DVC owns order and staleness, Prefect observes, retries and schedules."""
