"""A sampler that is asked for points which are known already, so that its state comes to where it was."""

# Optuna is not typed to the last.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState


class Replay(Protocol):
    """A sampler to give points to."""

    given: Mapping[str, Any] | None
    """The point that it answers with, whatever it would say itself; None: it answers for itself."""


def replaying(inner: BaseSampler) -> Any:
    """Give a sampler (a `Replay`) that asks `inner` each time and answers with `given` while it is set."""
    import optuna

    class Replaying(optuna.samplers.BaseSampler):
        given: Mapping[str, Any] | None = None

        def infer_relative_search_space(
            self, study: Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            return inner.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            found = inner.sample_relative(study, trial, search_space)
            if self.given is None:
                return found
            return {name: self.given[name] for name in found if name in self.given}

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            if self.given is not None and param_name in self.given:
                return self.given[param_name]
            return inner.sample_independent(study, trial, param_name, param_distribution)

        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            inner.before_trial(study, trial)

        def after_trial(
            self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
        ) -> None:
            inner.after_trial(study, trial, state, values)

    return Replaying()
