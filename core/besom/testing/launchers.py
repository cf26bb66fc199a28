"""The laws every Launcher keeps; a test class with a `launcher` that inherits the contract proves them."""

from __future__ import annotations

import pytest

from besom.errors import NotFoundError, UsageError
from besom.launch import AgentJob, Launcher, create_launcher
from besom.records import RunState, Sweep
from besom.testing.agents import Lab


class LauncherContract:
    """Override the `launcher` fixture; a `lab` fixture must give an empty Lab that the platform reaches."""

    seconds = 60.0  # how long the platform may take to start an agent, or to end one

    @pytest.fixture
    def launcher(self) -> Launcher:
        raise NotImplementedError

    @pytest.fixture
    def sweep(self, lab: Lab) -> Sweep:
        return lab.shell_sweep("echo $$; while [ ! -e go ]; do sleep 0.05; done", "[1, 2, 3]")

    def job(self, lab: Lab, sweep: Sweep, *arguments: str) -> AgentJob:
        return AgentJob(sweep.id, lab.store.url, arguments)

    def test_it_is_found_by_its_name(self, launcher: Launcher) -> None:
        assert type(create_launcher(launcher.name)) is type(launcher)

    def test_a_setting_it_does_not_have_is_an_error(self, launcher: Launcher) -> None:
        with pytest.raises(UsageError, match="no setting 'gravity'"):
            create_launcher(launcher.name, gravity=9.81)

    def test_its_options_explain_themselves(self, launcher: Launcher) -> None:
        assert [option.name for option in launcher.options if not (option.help or option.hidden)] == []

    def test_a_preview_names_what_would_run_and_starts_nothing(
        self, lab: Lab, sweep: Sweep, launcher: Launcher
    ) -> None:
        preview = launcher.preview(self.job(lab, sweep, "--count", "17"), 2)
        assert sweep.id in preview
        assert "17" in preview
        assert lab.store.list_agents(sweep.id) == []

    def test_launched_agents_join_the_sweep_and_run_it(
        self, lab: Lab, sweep: Sweep, launcher: Launcher
    ) -> None:
        launched = launcher.launch(self.job(lab, sweep, "--workers", "2"), 2)
        assert len({agent.job_id for agent in launched}) == 2
        assert all(agent.description for agent in launched)
        lab.wait(lambda: len(lab.store.list_agents(sweep.id)) == 2, self.seconds)
        assert list(launcher.alive(launched)) == list(launched)
        (lab.folder / "go").touch()
        lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 3, self.seconds)
        lab.wait(lambda: not launcher.alive(launched), self.seconds)
        launcher.cancel(launched)  # agents that are gone are no error

    def test_a_canceled_agent_gives_its_run_back(self, lab: Lab, sweep: Sweep, launcher: Launcher) -> None:
        launched = launcher.launch(self.job(lab, sweep, "--count", "1"), 1)
        lab.wait(lambda: any(lab.output(run) for run in lab.runs(sweep)), self.seconds)
        launcher.cancel(launched)
        lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED], self.seconds)
        launcher.cancel(launched)

    def test_an_unknown_platform_is_an_error_that_names_the_known_ones(self, launcher: Launcher) -> None:
        with pytest.raises(NotFoundError, match=launcher.name):
            create_launcher(f"{launcher.name}x")
