"""sentence-transformers' own router around a route's modules, which computes the reference."""

import copy
from typing import Any

from embconvert.models.routes import RoutedChain


def with_router(chain: Any, routed: RoutedChain) -> Any:
    """Returns a model with a Router that has only the given route, and shares all modules.

    Its `encode(task=...)` fails unless the library itself finds that the task leads to the route.
    """
    from sentence_transformers.base.modules import Router

    named = list(chain.named_children())
    name = routed.route.name
    router = Router(
        {name: [module for _, module in named[routed.first : routed.last]]},
        default_route=name if routed.route.is_default else None,
        allow_empty_key=False,
        route_mappings=dict.fromkeys(routed.keys, name),
    )
    whole = copy.copy(chain)
    # copy.copy() shares the dictionary. The names are those of the arguments of the modules' calls.
    whole._modules = dict([*named[: routed.first], ("router", router), *named[routed.last :]])
    return whole.eval()
