"""Ray Serve's ``serve.batch``, without a cluster, the way its own unit tests use it."""

from collections.abc import Callable
from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "Ray Serve"
    distribution = "ray"
    install = ("ray[serve]",)
    module = "ray.serve"
    note = "`serve.batch` alone, in process: a replica's context is set up, and no cluster started"
    options = frozenset({"weigh"})

    def __init__(
        self,
        handler: Handler,
        *,
        size: int,
        wait: float,
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        from ray import serve

        pretend_to_be_a_replica()

        async def handle(items: list[Any]) -> list[Any]:
            return await handler(items)

        self.submit = serve.batch(
            max_batch_size=size,
            batch_wait_timeout_s=wait,
            max_concurrent_batches=1,
            batch_size_fn=weigh and (lambda items: sum(map(weigh, items))),
        )(handle)


def pretend_to_be_a_replica() -> None:
    """Set what a batch queue asks about its replica: how many requests it takes."""
    from ray.serve import context
    from ray.serve._private.common import DeploymentID, ReplicaID
    from ray.serve._private.config import DeploymentConfig
    from ray.serve.schema import ReplicaRank

    context._set_internal_replica_context(
        replica_id=ReplicaID(unique_id="probe", deployment_id=DeploymentID(name="probe")),
        servable_object=None,
        _deployment_config=DeploymentConfig(max_ongoing_requests=100_000),
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )
