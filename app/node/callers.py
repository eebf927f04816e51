"""Who may send to the DICOM node: AE titles, each from anywhere or from an address or network."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from app.settings import Settings

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Callers:
    """The AE titles that are let in, with the networks that each may come from (none: any)."""

    known: dict[str, tuple[_Network, ...]]

    @classmethod
    def of(cls, settings: Settings) -> Callers:
        """Those of ``HEPATICA_NODE_CALLERS``."""
        found: dict[str, tuple[_Network, ...]] = {}
        for item in filter(None, settings.node_callers.split(",")):
            title, _, network = item.partition("@")
            more = (ipaddress.ip_network(network, strict=False),) if network else ()
            # named with an address and without: without says more
            anywhere = title in found and not found[title]
            found[title] = () if anywhere or not more else (*found.get(title, ()), *more)
        return cls(found)

    def admit(self, title: str, address: str) -> bool:
        """Whether who calls itself ``title`` may send from ``address``."""
        networks = self.known.get(title.strip())
        if networks is None:
            return False
        try:
            told = ipaddress.ip_address(address.split("%")[0])
        except ValueError:
            return not networks
        if isinstance(told, ipaddress.IPv6Address) and told.ipv4_mapped:
            told = told.ipv4_mapped
        return not networks or any(told in network for network in networks)
