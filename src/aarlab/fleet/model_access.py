"""Which model APIs a campaign's researchers are given, with whose keys: the providers', or a model
server of the operator's own (`model_api`)."""

from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import KEYS, key_named, model_keys
from aarlab.fleet.campaign import PROVIDERS, Campaign
from aarlab.gateway.config import GatewayConfig, ModelServer, Provider, ProviderName
from aarlab.researchers.command import Command

SCRIPTED = "scripted"
SERVED: tuple[ProviderName, ...] = ("anthropic", "openai")  # wire formats of servers of one's own


class Access(NamedTuple):
    """Model APIs, and the keys that the gateway is given, by provider."""

    providers: tuple[Provider, ...]
    keys: dict[str, str]


def access_of(campaign: Campaign) -> Access:
    """The model APIs of a campaign; none where its researchers call none. Those of kind `scripted`
    have one that the fleet starts.

    Raises:
        Misconfigured: a key is missing, or `model_api` does not suit its researchers.
    """
    if not campaign.calls_a_model or campaign.kind == SCRIPTED:
        return Access((), {})
    if campaign.model_api is not None:
        return _own(campaign, campaign.model_api)
    keys = required_keys(campaign)
    providers = (
        Provider.model_validate({"name": name, "url": campaign.providers[name]}) for name in keys
    )
    return Access(tuple(providers), keys)


def _own(campaign: Campaign, server: ModelServer) -> Access:
    speaks = spoken_by(campaign)
    if speaks is not None and speaks not in SERVED:
        raise Misconfigured(
            f"{campaign.whose} speak {speaks}'s wire format, which no server of `model_api` does. "
            "Choose agents that speak OpenAI's or Anthropic's, or leave `model_api` out."
        )
    names = SERVED if speaks is None else tuple(name for name in SERVED if name == speaks)
    key = _key(server)
    providers = tuple(
        Provider(
            name=name,
            url=server.base_url,
            prices=server.prices,
            certificates=server.certificates,
        )
        for name in names
    )
    return Access(providers, dict.fromkeys(names, key) if key else {})


def _key(server: ModelServer) -> str:
    if server.key_variable is None:
        return ""
    if not (key := key_named(server.key_variable)):
        raise Misconfigured(
            f"model_api.key_variable: {server.key_variable} is not set. Set it to the server's key "
            "(only the gateway will see it), or leave key_variable out if the server wants none."
        )
    return key


def gateway_config(campaign: Campaign, providers: tuple[Provider, ...]) -> GatewayConfig:
    """What the gateway needs to know of a campaign."""
    try:
        return GatewayConfig(
            models=(campaign.model, *campaign.models) if providers else (),
            providers=providers,
            **dict(campaign.budgets),
        )
    except ValueError as error:
        names = ", ".join(map(repr, (campaign.model, *campaign.models)))
        raise Misconfigured(f"One of the models {names} has no name of a model.") from error


def required_keys(campaign: Campaign) -> dict[str, str]:
    """The keys of the campaign's providers that are set, by provider. A kind of the operator's own
    may need none.

    Raises:
        Misconfigured: none is, or the one that its agents need is not.
    """
    keys = {name: key for name, key in model_keys().items() if name in campaign.providers}
    needed = spoken_by(campaign)
    if needed is not None and needed not in keys:
        raise Misconfigured(
            f"{campaign.whose} need {KEYS[needed]}. Set it; only the gateway will see it. For a "
            "model server of your own, give `model_api`."
        )
    if not keys and not campaign.kind.endswith(".py"):
        words = (
            f"Researchers of kind {campaign.kind} need the key of a model API: "
            f"{', '.join(KEYS.values())}. Set one, or give `model_api`."
        )
        raise Misconfigured(words)
    return keys


def spoken_by(campaign: Campaign) -> str | None:
    """The provider whose wire format the campaign's agents speak; None where it is not known."""
    if campaign.kind == "command":
        return Command(campaign.options).template.provider
    return "anthropic" if campaign.kind in ("claude_code", SCRIPTED) else None


def formats_of(campaign: Campaign) -> tuple[tuple[str, ...], bool]:
    """The wire formats that the campaign's agents may use, by their names in `model_server`; and
    whether one of them is enough, since it is not known which they use."""
    if campaign.kind != "command":
        known = campaign.kind == "claude_code"
        return (("messages",), False) if known else (("chat", "messages"), True)
    template = Command(campaign.options).template
    if template.provider == "anthropic":
        return ("messages",), False
    if template.provider == "openai":
        return ((template.api,), False) if template.api else (("chat", "responses"), True)
    return ("chat", "responses", "messages"), True


def listed_places(campaign: Campaign) -> tuple[Provider, ...]:
    """The model APIs at which the prices of its models are looked up; keys need not be set."""
    if campaign.model_api is not None and campaign.kind != SCRIPTED:
        return _own(campaign, campaign.model_api).providers
    keys = {} if campaign.kind == SCRIPTED else required_keys(campaign)
    speaks = spoken_by(campaign)
    named = list(keys) if speaks is None else [speaks]
    return tuple(
        Provider.model_validate({"name": n, "url": campaign.providers.get(n, PROVIDERS[n])})
        for n in named
    )
