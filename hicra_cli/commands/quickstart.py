"""hicra quickstart"""

from hicra_cli.commands.learnt import learnt_table
from hicra_cli.commands.options import DryRun, Force
from hicra_cli.commands.pipeline import read_pipeline
from hicra_cli.commands.run import plan_report, results_report, run_all
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import single_app

PIPELINE = "quickstart"
NEXT = """\
Go on with a real model (a GPU and `pip install "hicra[vllm]"`):
  hicra collect-grams -c qwen3-4b-base          successful solutions and their n-grams
  hicra annotate-grams --annotator gemini       or --annotator lexicon, offline
  hicra curate
  hicra train -c qwen3-4b-base --algo hicra
  hicra eval -c qwen3-4b-base --policy policy:hicra@last --bench aime24
  hicra diagnose --training training:hicra"""


def quickstart(session: Session, dry_run: DryRun = False, force: Force = False) -> Report:
    """The whole pipeline on the built-in model and task, offline.

    Collects, annotates and curates strategic grams of the built-in model `nano`, trains it with GRPO and with HICRA
    from the same seed, evaluates all three on held-out problems and writes the report. Interrupted, the same command
    goes on; repeated, it finds everything published. The same as `hicra run quickstart`, with a summary.

    \b
    Examples:
      hicra quickstart
      hicra quickstart --home /tmp/try --set train.steps=10
    """
    pipeline = read_pipeline(PIPELINE)
    if dry_run:
        return plan_report(session, pipeline)
    results = run_all(session, pipeline, force=force)
    report = results_report(results)
    made = {step.name: each.artifact for step, each in results}
    table, learnt = learnt_table(made)
    page = made["diagnose"].file("report.html")
    views = [*report.views, "", table, "", f"report: {page}", "", NEXT]
    data = {**report.data, "report": str(page), "learnt": learnt}
    return Report(views, report.artifacts, report.metrics, data, cached=report.cached)


app = single_app("quickstart", quickstart)
