"""Prefect flows over the DVC pipeline: DVC owns order and staleness, Prefect observes, retries and schedules.

Usage reports of Prefect are off unless the environment says otherwise; this runs before Prefect is imported.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
