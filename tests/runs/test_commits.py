"""The git commit of a job's folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emrctl.runs import submission
from emrctl.runs.commits import Commit, find_commit
from emrctl.spec import ProjectSpec
from tests.runs.fake_cluster import FakeWorkspace, without_uploads

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def _git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a committed job in a folder of a repository."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    path = folder / "mine.py"
    path.write_text("print(1)\n")
    (tmp_path / "other.txt").write_text("a\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "remote", "add", "origin", "https://user:secret@example.org/x.git")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    return path


def test_find_commit_of_committed_script_is_head(script: Path) -> None:
    commit = find_commit(script)
    assert commit == Commit(id=_git(script.parent, "rev-parse", "HEAD"))
    assert str(commit) == commit.id


def test_find_commit_ignores_changes_outside_of_the_folder_and_untracked_files(
    script: Path,
) -> None:
    (script.parent.parent / "other.txt").write_text("b\n")
    (script.parent / "output.csv").write_text("1\n")
    found = find_commit(script)
    assert found is not None
    assert not found.dirty


def test_find_commit_of_changed_file_in_the_folder_is_dirty(script: Path) -> None:
    script.write_text("print(2)\n")
    found = find_commit(script)
    assert found is not None
    assert found.dirty
    assert str(found) == f"{found.id} with uncommitted changes"


def test_find_commit_of_untracked_script_is_none(script: Path) -> None:
    new = script.with_name("new.py")
    new.write_text("")
    assert find_commit(new) is None


def test_find_commit_without_commits_is_none(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("")
    _git(tmp_path, "add", ".")
    assert find_commit(tmp_path / "a.py") is None


def test_find_commit_outside_of_a_repository_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert find_commit(tmp_path / "a.py") is None


def test_find_commit_without_git_is_none(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert find_commit(script) is None


def test_submit_records_the_commit(script: Path, tmp_path: Path) -> None:
    workspace = FakeWorkspace(ProjectSpec(project="pets"), tmp_path / "project")
    with without_uploads():
        run = submission.submit(workspace, submission.Submission(job=str(script)))
    assert run.commit is not None
    assert workspace.store.load(run.id).commit == find_commit(script)
