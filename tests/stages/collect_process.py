"""A process that collects in a registry, to be killed by tests: python -m tests.stages.collect_process CONFIG.json"""

import sys
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.collect_grams import STAGE


def main() -> None:
    config = HicraConfig.model_validate_json(Path(sys.argv[1]).read_text())
    with Registry.open(config.home) as registry:
        execute(STAGE, config, registry, SilentProgress(), resume=True)


if __name__ == "__main__":
    main()
