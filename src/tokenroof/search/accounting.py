"""What so many chips of a kind cost, draw and take up; formulas are those of ``cost``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip
from tokenroof.cost.basis import CostBasis
from tokenroof.cost.carbon import embodied_share_kgco2e, kgco2e_per_mtok, operational_kgco2e
from tokenroof.cost.energy import chip_power_w, facility_power_w
from tokenroof.cost.money import usd_per_mtok
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.core import Pool
from tokenroof.deploy.provenance import power_of
from tokenroof.search.asked import Limits, Load

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCost:
    """One kind of chip in money, power and room.

    Attributes
    ----------
    name : str
        Of the chip.
    basis : CostBasis
        Prices and intensities.
    provided_w : float
        Power at the meter that is provided for one chip at its limit; nan when unknown. [W]
    idle_w, tdp_w : float
        Of one chip; nan when unknown. [W]
    chips_per_node : int
        As it is sold.
    is_rack : bool
        Whether a node is a rack by itself.
    """

    name: str
    basis: CostBasis
    provided_w: float
    idle_w: float
    tdp_w: float
    chips_per_node: int
    is_rack: bool

    @property
    def rack_w(self) -> float:
        """Of one chip with its server at its limit, without cooling; nan when unknown. [W]"""
        if not math.isnan(self.tdp_w):
            return self.tdp_w * self.basis.server_overhead_factor
        return self.provided_w / self.basis.pue

    @property
    def usd_per_hour(self) -> float:
        """Of one chip; nan when unknown. [USD/h]"""
        price = self.basis.usd_per_chip_hour
        return math.nan if price is None else price


def chip_cost(chip: Chip, pool: Pool, spending: Spending, catalog: Catalog) -> ChipCost:
    """The figures of one kind of chip.

    ``all_in_power_w`` of the chip where it is known, else its limit with servers and cooling.
    """
    basis = spending.basis(catalog.economics(), chip)
    power = power_of(pool)
    if chip.all_in_power_w is not None:
        provided = chip.all_in_power_w.value
    elif chip.tdp_w is not None:
        provided = float(
            facility_power_w(
                chip_w=chip.tdp_w.value, server_overhead_factor=basis.server_overhead_factor, pue=basis.pue
            )
        )
    else:
        provided = math.nan
    size, rack = _node(catalog, chip.node)
    return ChipCost(
        name=chip.name,
        basis=basis,
        provided_w=provided,
        idle_w=math.nan if power is None else power.idle_w,
        tdp_w=math.nan if power is None else power.tdp_w,
        chips_per_node=size,
        is_rack=rack,
    )


@lru_cache(maxsize=256)
def _node(catalog: Catalog, name: str) -> tuple[int, bool]:
    """Chips of a node, and whether it is a rack or a pod; a chip without a node stands alone."""
    if not name:
        return 1, False
    node = catalog.node(name)
    return node.chips_per_node, node.form in ("rack", "pod")


def nodes_of(cost: ChipCost, chips: FloatArray) -> FloatArray:
    """Whole nodes that hold so many chips."""
    return np.ceil(chips / cost.chips_per_node)


def racks_of(cost: ChipCost, chips: FloatArray, limits: Limits) -> FloatArray:
    """Racks that hold so many chips: boards are stacked as far as the power of a rack goes, at least one.

    What a rack is fed with does not cool the building: servers count without the overhead of the facility.
    """
    nodes = nodes_of(cost, chips)
    if cost.is_rack:
        return nodes
    node_w = cost.chips_per_node * cost.rack_w
    per_rack = 1.0 if math.isnan(node_w) else max(1.0, float(limits.rack_w // node_w))
    found: FloatArray = np.ceil(nodes / per_rack)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What pools take at a load; arrays of one shape, which add up over pools.

    Attributes
    ----------
    chips, nodes, racks : FloatArray
        How many.
    usd_per_hour : FloatArray
        nan when there is no price. [USD/h]
    provided_w, power_w : FloatArray
        At the meter: to be provided, and mean while serving. [W]
    gco2e_per_mtok : FloatArray
        Electricity and making, over the tokens of the load. [gCO2e]
    """

    chips: FloatArray
    nodes: FloatArray
    racks: FloatArray
    usd_per_hour: FloatArray
    provided_w: FloatArray
    power_w: FloatArray
    gco2e_per_mtok: FloatArray


def spent(cost: ChipCost, chips: FloatArray, dynamic_w: FloatArray, load: Load, limits: Limits) -> Spent:
    """What so many chips take that draw ``dynamic_w`` together beside their static power."""
    basis = cost.basis
    chip_w = np.asarray(
        chip_power_w(dynamic_energy_j=dynamic_w / chips, time_s=1.0, idle_w=cost.idle_w, tdp_w=cost.tdp_w)
    )
    power_w = chips * np.asarray(
        facility_power_w(chip_w=chip_w, server_overhead_factor=basis.server_overhead_factor, pue=basis.pue)
    )
    electric = operational_kgco2e(facility_energy_j=power_w, grid_kgco2e_per_kwh=basis.grid_kgco2e_per_kwh)
    made = embodied_share_kgco2e(
        chip_s=chips,
        embodied_kgco2e=math.nan if basis.embodied_kgco2e is None else basis.embodied_kgco2e,
        lifetime_years=basis.lifetime_years,
        utilisation_fraction=basis.utilisation_fraction,
    )
    carbon = kgco2e_per_mtok(kgco2e_per_s=electric + made, tokens_per_s=load.tokens_per_s)
    return Spent(
        chips=chips,
        nodes=nodes_of(cost, chips),
        racks=racks_of(cost, chips, limits),
        usd_per_hour=chips * cost.usd_per_hour,
        provided_w=chips * cost.provided_w,
        power_w=power_w,
        gco2e_per_mtok=1e3 * np.asarray(carbon),
    )


def objective_values(
    *,
    chips: FloatArray,
    usd_per_hour: FloatArray,
    power_w: FloatArray,
    gco2e_per_mtok: FloatArray,
    ttft_s: FloatArray,
    tpot_s: FloatArray,
    load: Load,
    utilisation_fraction: float,
) -> dict[str, FloatArray]:
    """Every objective of ``asked.OBJECTIVES``; arrays of one shape, or plain numbers."""
    return {
        "usd_per_million_tokens": np.asarray(
            usd_per_mtok(
                usd_per_hour=usd_per_hour,
                tokens_per_s=load.tokens_per_s,
                utilisation_fraction=utilisation_fraction,
            )
        ),
        "chips": np.asarray(chips, dtype=np.float64),
        "tokens_per_s_per_chip": load.tokens_per_s / np.asarray(chips, dtype=np.float64),
        "power_w": np.asarray(power_w),
        "gco2e_per_million_tokens": np.asarray(gco2e_per_mtok),
        "ttft_s": np.asarray(ttft_s),
        "tpot_s": np.asarray(tpot_s),
    }


def total(parts: Sequence[Spent], costs: Sequence[ChipCost], limits: Limits) -> Spent:
    """Of several pools; arrays broadcast.

    Parameters
    ----------
    parts : sequence of Spent
        By pool.
    costs : sequence of ChipCost
        By pool: pools of one kind of chip share nodes and racks.
    limits : Limits
        What a rack is fed with.
    """
    whole: dict[str, FloatArray] = {
        name: np.asarray(sum(getattr(each, name) for each in parts)) for name in Spent.__dataclass_fields__
    }
    kinds = {cost.name: cost for cost in costs}
    if len(kinds) < len(parts):
        for name in ("nodes", "racks"):
            whole[name] = np.zeros(())
        for name, kind in kinds.items():
            chips = np.zeros(())
            for part, cost in zip(parts, costs, strict=True):
                chips = chips + part.chips * (cost.name == name)
            whole["nodes"] = whole["nodes"] + nodes_of(kind, chips)
            whole["racks"] = whole["racks"] + racks_of(kind, chips, limits)
    return Spent(**whole)
