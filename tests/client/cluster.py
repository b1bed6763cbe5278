"""The tests of real clients against a cluster: two replicas of each service, and two gateways used in turn.

    tests/client/run cluster [--replicas 2] [--store-nodes 1]

Each test has a cluster of its own, in a temporary directory. What is asked and expected is theirs, word for word what
they ask and expect of one process.
"""

import argparse
import functools
import time

import grpcurl
import mastodon_py
from replicas import Replicas


class Counted(Replicas):
    """One that tells, when it ends, how long it took to come up and how its doors were used."""

    def __init__(self, *words, **wishes):
        since = time.monotonic()
        super().__init__(*words, **wishes)
        print(f"the cluster came up in {time.monotonic() - since:.1f} s", flush=True)

    def stop(self) -> int:
        for what, door in (("HTTP requests", self.web), ("gRPC connections", self.calls)):
            counts = list(door.opened.values())
            print(f"{what} by gateway: {counts}")
            # In turn: neither gateway may have been spared.
            assert not counts or max(counts) - min(counts) <= 1, counts
        return super().stop()


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--replicas", type=int, default=2, help="of each service")
    flags.add_argument("--store-nodes", type=int, default=1, choices=[1, 3])
    given = flags.parse_args()
    begin = functools.partial(Counted, replicas=given.replicas, store_nodes=given.store_nodes)
    for test in (mastodon_py, grpcurl):
        test.main(begin)


if __name__ == "__main__":
    main()
