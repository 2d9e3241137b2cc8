"""Prefect flows over the DVC pipeline: DVC owns order and staleness, Prefect observes, retries and schedules.

Usage reports of Prefect are off unless the environment says otherwise; this runs before Prefect is imported.
"""

from flows.failure_logs import shorten
from flows.surroundings import prepare

prepare()
shorten()
