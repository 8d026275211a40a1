"""Where evicted cache goes: memory of the host, SSDs, a store over the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Quantity
from tokenroof.deploy.core import Pool
from tokenroof.deploy.simulated.memory import rank_chips
from tokenroof.errors import InputError
from tokenroof.serve.core import CacheTier

DRIVE = "nvme-pcie5"
"""Drive behind every chip, unless another bandwidth is given."""


class Offload(Protocol):
    """A place for evicted cache."""

    def tier(self, pool: Pool, catalog: Catalog, block_bytes: float) -> CacheTier:
        """The place as the simulator sees it.

        Raises
        ------
        InputError
            The catalog does not know how fast it is for this chip, and nothing is given.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Size and, where the catalog's figures are not wanted, speed.

    Attributes
    ----------
    size_bytes : float
        Of one replica; of the whole pool for a store over the network. [bytes]
    bytes_per_s : float or None
        Of loading into one replica. [bytes/s]
    latency_s : float or None
        Of one load. [s]
    """

    size_bytes: float
    bytes_per_s: float | None = None
    latency_s: float | None = None

    def __post_init__(self) -> None:
        if not self.size_bytes > 0.0:
            raise InputError(f"the size of an offload tier must be above 0, got {self.size_bytes!r}.")
        for name in ("bytes_per_s", "latency_s"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise InputError(f"an offload tier's {name} must be above 0, got {value!r}.")

    def _made(
        self,
        name: str,
        pool: Pool,
        block_bytes: float,
        bandwidth_bytes_per_s: float,
        latency_s: float,
        *,
        shared: bool = False,
    ) -> CacheTier:
        """Chips of a rank load their own shards of a block at once, each over its own link."""
        return CacheTier(
            name=name,
            blocks=int(self.size_bytes // block_bytes),
            bytes_per_s=self.bytes_per_s or bandwidth_bytes_per_s * rank_chips(pool),
            latency_s=latency_s if self.latency_s is None else self.latency_s,
            shared=shared,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(_Place):
    """Memory of the host, over the chips' links to it."""

    def tier(self, pool: Pool, catalog: Catalog, block_bytes: float) -> CacheTier:
        """The place as the simulator sees it."""
        if self.bytes_per_s is not None and self.latency_s is not None:
            return self._made("host", pool, block_bytes, self.bytes_per_s, self.latency_s)
        link, hop = _host_link(pool, catalog)
        return self._made("host", pool, block_bytes, link.value, hop.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssd(_Place):
    """One drive behind every chip (:data:`DRIVE`), read over the chip's link to the host."""

    def tier(self, pool: Pool, catalog: Catalog, block_bytes: float) -> CacheTier:
        """The place as the simulator sees it."""
        if self.bytes_per_s is not None and self.latency_s is not None:
            return self._made("ssd", pool, block_bytes, self.bytes_per_s, self.latency_s)
        link, hop = _host_link(pool, catalog)
        drive = catalog.memory(DRIVE).fields
        speed = min(link.value, drive["bandwidth_bytes_per_s"].value)
        return self._made("ssd", pool, block_bytes, speed, hop.value + drive["read_latency_s"].value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote(_Place):
    """A store over the scale-out network, one for all replicas of the pool."""

    def tier(self, pool: Pool, catalog: Catalog, block_bytes: float) -> CacheTier:
        """The place as the simulator sees it."""
        if self.bytes_per_s is not None and self.latency_s is not None:
            return self._made("remote", pool, block_bytes, self.bytes_per_s, self.latency_s, shared=True)
        fabric = pool.chip.scale_out
        if fabric is None:
            raise InputError(
                f"{pool.chip.name} has no scale-out network to a store. Give its bandwidth and latency."
            )
        wait_s = fabric.software_latency_s.value + fabric.hop_latency_s.value
        speed = fabric.bandwidth_bytes_per_s.value
        return self._made("remote", pool, block_bytes, speed, wait_s, shared=True)


def _host_link(pool: Pool, catalog: Catalog) -> tuple[Quantity, Quantity]:
    """Bandwidth and latency of a chip's link to its host, of the chip or of the node it is sold in."""
    chip = pool.chip
    links = catalog.node(chip.node).links if chip.node in catalog.nodes() else ()
    link = next((each for each in links if set(each.ends) == {"chip", "host"}), None)
    if link is None:
        raise InputError(
            f"no link of {chip.name} to its host is known. Give bandwidth and latency of the tier."
        )
    return chip.host_link_bytes_per_s or link.bandwidth_bytes_per_s, link.latency_s
