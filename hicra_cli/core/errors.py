"""How hicra fails.

1. Every failure a user can meet is one of the classes below; its class decides the exit code.
2. It carries `what` happened (with the values), `where` (file, line, field) and `fix` (the command to type).
3. It is raised where it is noticed and caught once, in `hicra_cli.app`, which prints one short paragraph; the
   traceback goes to the run's log file, and to the terminal only under `--debug`.
4. One failing sample is data, not a failure: it gets an `Outcome` and a counter.
"""


class HicraError(Exception):
    """Root of hicra's failures. `what` is a sentence, `where` a place, `fix` what to do next."""

    exit_code = 1
    kind = "error"

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.fix is None else f"{text}. {self.fix}"


class UsageError(HicraError):
    """The command line or its combination of options makes no sense."""

    exit_code = 2
    kind = "usage"


class ConfigError(UsageError):
    """A configuration file, variable or value is malformed, unknown or out of bounds."""

    kind = "config"


class DataError(UsageError):
    """A user's data file is malformed: the place is `file:line`."""

    kind = "data"


class ArtifactError(HicraError):
    """An artifact, or the registry itself, is missing, damaged or too new."""

    exit_code = 3
    kind = "artifact"


class ServiceError(HicraError):
    """An external service failed for good, or its key is missing."""

    exit_code = 4
    kind = "service"


class RunError(HicraError):
    """The work itself failed while running (disk full, out of memory …)."""

    kind = "run"


class EngineError(RunError):
    """A sampling engine failed or disagrees with the trainer's model."""

    kind = "engine"


class TrainingError(RunError):
    """Training cannot go on: non-finite numbers, an empty planning mask, a refused combination at run time."""

    kind = "training"


class Interrupted(HicraError):
    """SIGINT or SIGTERM arrived; what was done is kept and `--resume` goes on."""

    exit_code = 130
    kind = "interrupted"
