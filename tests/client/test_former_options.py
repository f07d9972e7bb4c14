"""Names that options had before are taken, and are in no help."""

from __future__ import annotations

from client.scripted import Run

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2 as messages
from zart.v1 import batch_service_pb2 as pb


def test_a_batch_of_reruns_takes_what_its_options_were_called(run: Run) -> None:
    planned = pb.CreateBatchResponse(plan_token="tok", planned=True, plan=messages.BatchPlan())
    code, _, err, requests = run(
        "batch rerun --everything --force a,b --rerun c --downstream --dry-run",
        ("CreateBatch", planned),
    )
    assert code == 0, err
    (request,) = requests
    assert sorted(request.operation.rerun.force_rerun) == ["a", "b", "c"]
    assert request.operation.rerun.include_downstream
    _, out, _, _ = run("batch rerun --help")
    assert "--rerun" in out
    assert "--force" not in out


def test_in_doubt_takes_what_its_option_was_called(run: Run) -> None:
    page = ("ListInDoubt", admin.ListInDoubtResponse())
    *_, (request,) = run("in-doubt --prefix order- --task-name t", page)
    assert request.filter.execution_id_prefix == "order-"
    assert request.filter.task_name == "t"
    assert run("in-doubt --prefix order- --id-prefix x")[0] == 2
    assert " --prefix" not in run("in-doubt --help")[1]
