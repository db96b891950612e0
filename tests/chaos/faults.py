"""All kinds of faults by name: each is in FAULTS because its module was imported.

FAULTS[name].draw(rng, shape)             arguments for one, as plain values
async with FAULTS[name](e, **arguments):  broken for as long as the block lasts
"""

from tests.chaos import postgres_faults, process_faults, redis_faults, wire_faults
from tests.chaos.fault import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "postgres_faults", "process_faults", "redis_faults", "wire_faults"]
