"""Which rules are used."""

from embconvert.models.choices import OptimizationLevel
from embconvert.rewrite import rules_for


def test_level_1_keeps_to_what_other_providers_run_well() -> None:
    portable = rules_for(OptimizationLevel.BASIC, fuse=True)
    for_cpu = rules_for(OptimizationLevel.EXTENDED, fuse=True)
    assert set(portable) < set(for_cpu)
    assert for_cpu == rules_for(OptimizationLevel.ALL, fuse=True)
