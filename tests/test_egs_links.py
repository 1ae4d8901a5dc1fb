"""A recipe folder with links to the shared rooms, as egs/README.md says."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_steps_work_through_links(tmp_path: Path) -> None:
    recipe = tmp_path / "my egs" / "v1"
    recipe.mkdir(parents=True)
    for name in ("steps", "utils", "path.sh"):
        (recipe / name).symlink_to(ROOT / name)
    script = '. ./path.sh; echo "$VOUCH_ROOT"; bash steps/score.sh --help; bash utils/validate_data_dir.sh --help'
    run = subprocess.run(["bash", "-ec", script], cwd=recipe, capture_output=True, text=True, env=os.environ)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == str(ROOT)
    assert "usage: score.sh" in run.stdout
