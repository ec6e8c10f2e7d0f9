"""The gate: how a fused model behaves, measured before it is published."""

from mos_server.fusion.gate.behaviour import Behaviour, Excess, excesses
from mos_server.fusion.gate.canary import Canary, Plan
from mos_server.fusion.gate.limits import GateLimits

__all__ = ["Behaviour", "Canary", "Excess", "GateLimits", "Plan", "excesses"]
