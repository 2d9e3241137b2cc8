"""A Dask cluster of two worker processes on loopback, as a program: prints its address, ends with its input."""

from __future__ import annotations

import sys

from distributed import Client, LocalCluster


def main() -> None:
    """Says on its last line how many tasks each worker has seen."""
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.readline()
        with Client(cluster) as client:
            seen = client.run(lambda dask_worker: dask_worker.state.transition_counter)
        print(f"workers with work: {sum(count > 0 for count in seen.values())}", flush=True)


if __name__ == "__main__":
    main()
