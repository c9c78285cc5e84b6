"""What the settings say of the network, as the sandboxes' port wants it."""

from __future__ import annotations

from lambent.domain.egress import BadEgress, Outside, resolvers, server_layer
from lambent.settings import Settings, SettingsError

FROM_SETTINGS = "settings"


def outside(settings: Settings) -> Outside:
    """Where functions may connect to at most. Raises SettingsError."""
    network = settings.network
    try:
        layer = server_layer(network.egress, network.allow)
    except BadEgress as error:
        raise SettingsError("network.allow", FROM_SETTINGS, str(error)) from None
    try:
        return Outside(layer, resolvers(network.resolvers))
    except BadEgress as error:
        raise SettingsError("network.resolvers", FROM_SETTINGS, str(error)) from None
