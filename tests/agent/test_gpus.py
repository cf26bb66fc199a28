from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom.agent.gpus import gpu_slots, visible_gpus
from besom.errors import UsageError

TWO_GPUS = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5c2d9a1e-0000-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5c2d9a1e-0000-0000-0000-000000000001)
"""
ONE_OF_THEM_CUT = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5c2d9a1e-0000-0000-0000-000000000000)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaaaaaa-0000-0000-0000-000000000000)
  MIG 3g.40gb     Device  1: (UUID: MIG-bbbbbbbb-0000-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5c2d9a1e-0000-0000-0000-000000000001)
"""


def write_nvidia_smi(folder: Path, says: str, *, code: int = 0) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{says}END\nexit {code}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [
        ("0,1,2", ["0", "1", "2"]),
        (" 3 , 1 ", ["3", "1"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("1,1", ["1"]),
        ("GPU-5c2d9a1e,MIG-aaaa", ["GPU-5c2d9a1e", "MIG-aaaa"]),
        ("NoDevFiles", []),
    ],
)
def test_the_environments_list_is_read_as_cuda_reads_it(listed: str, gpus: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == gpus


@pytest.mark.parametrize(
    ("says", "gpus"),
    [
        (TWO_GPUS, ["0", "1"]),
        (
            ONE_OF_THEM_CUT,
            ["MIG-aaaaaaaa-0000-0000-0000-000000000000", "MIG-bbbbbbbb-0000-0000-0000-000000000000", "1"],
        ),
        ("No devices found.\n", []),
    ],
)
def test_without_a_list_nvidia_smi_is_asked(tmp_path: Path, says: str, gpus: list[str]) -> None:
    write_nvidia_smi(tmp_path, says)
    assert visible_gpus({"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}) == gpus


def test_where_nvidia_smi_fails_the_driver_is_asked(tmp_path: Path) -> None:
    write_nvidia_smi(tmp_path, "", code=9)
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert visible_gpus({"PATH": path}, driver=tmp_path / "gpus") == ["0", "1"]


def test_without_a_driver_there_are_no_gpus(tmp_path: Path) -> None:
    assert visible_gpus({"PATH": str(tmp_path)}, driver=tmp_path / "gpus") == []


def test_runs_that_want_no_gpu_keep_what_the_agent_sees() -> None:
    assert gpu_slots(2, 0, ["0"]) == [{}, {}]


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 30))
def test_no_gpu_is_in_two_slots_and_every_slot_has_its_share(workers: int, share: int, count: int) -> None:
    gpus = [str(number) for number in range(count)]
    if workers * share > count:
        with pytest.raises(UsageError, match=f"need {workers * share} GPUs"):
            gpu_slots(workers, share, gpus)
        return
    lists = [slot["CUDA_VISIBLE_DEVICES"].split(",") for slot in gpu_slots(workers, share, gpus)]
    assert [len(words) for words in lists] == [share] * workers
    given_out = [word for words in lists for word in words]
    assert len(set(given_out)) == len(given_out)
    assert set(given_out) <= set(gpus)


def test_too_few_gpus_are_explained() -> None:
    with pytest.raises(UsageError, match=r"--workers 3 .*need 6 GPUs.* 4 \(0,1,2,3\); use --workers 2"):
        gpu_slots(3, 2, ["0", "1", "2", "3"])
    with pytest.raises(
        UsageError, match=r"may use none; use fewer GPUs per run, or set CUDA_VISIBLE_DEVICES"
    ):
        gpu_slots(1, 1, [])
