"""A job, its continuation and a study through the client that openapi-python-client generates."""

import sys

from generated import Client
from generated import models as m
from generated.api.catalog import count_catalog, list_catalog
from generated.api.history import get_job_history
from generated.api.jobs import continue_job, create_job, get_job, validate_job
from generated.api.studies import create_study, get_study

client = Client(base_url=sys.argv[1], timeout=70)
spec = m.JobSpec(
    problem=m.SupervisedProblem(
        kind="supervised",
        data=m.BuiltinData(kind="builtin", name="iris"),
        model=m.MLPModel(kind="mlp", hidden=[8], norm=m.LayerNorm(kind="layer")),
    ),
    optimizer=m.AdamOptimizer(kind="adam", lr=0.01),
    schedule=m.CosineSchedule(kind="cosine"),
    budget=m.Budget(max_steps=50),
)
made = create_job.sync(client=client, body=spec)
assert isinstance(made, m.Job), made

ended = get_job.sync(client=client, job_id=made.id, wait=60)
assert isinstance(ended, m.Job), ended
assert ended.status == "succeeded", ended

# What comes back has every default written out, and can be sent as it is.
assert ended.spec.optimizer.betas[0] == 0.9
assert (ended.spec.schedule.kind, ended.spec.schedule.t_max) == ("cosine", 50)
again = create_job.sync(client=client, body=m.JobSpec.from_dict(ended.spec.to_dict()))
assert isinstance(again, m.Job), again

rows = get_job_history.sync(client=client, job_id=made.id, series="loss", limit=5)
assert len(rows.series["loss"]) == 5, rows
longer = continue_job.sync(
    client=client, job_id=made.id, body=m.Continuation(budget=m.Budget(max_steps=60))
)
assert isinstance(longer, m.Job), longer
assert longer.parent_id == made.id

sweep = {"optimizer.lr": {"log": [0.001, 0.1], "count": 3}}
study = m.StudySpec.from_dict({"base": spec.to_dict(), "sweep": sweep})
posted = create_study.sync(client=client, body=study)
assert isinstance(posted, m.Study), posted
done = get_study.sync(client=client, study_id=posted.id, wait=60)
assert done.status == "succeeded", done

wrong = create_job.sync(client=client, body=m.JobSpec.from_dict({**spec.to_dict(), "seed": -1}))
assert isinstance(wrong, m.ProblemDetails), wrong
assert wrong.errors[0].param == "seed", wrong
# Every kind of the catalogue goes through the models unchanged, sent and resolved.
for family in count_catalog.sync(client=client).to_dict():
    for entry in list_catalog.sync(client=client, family=family).data:
        example = entry.example.to_dict()
        body = m.JobSpec.from_dict(example)
        assert body.to_dict() == example, entry.kind
        if entry.kind == "dataset":  # its example names one that would have to be uploaded
            continue
        found = validate_job.sync(client=client, body=body)
        assert isinstance(found, m.ValidatedJob), (entry.kind, found)
        resolved = m.JobSpec.from_dict(found.spec.to_dict())
        twice = validate_job.sync(client=client, body=resolved)
        assert isinstance(twice, m.ValidatedJob), (entry.kind, twice)
        assert twice.spec.to_dict() == found.spec.to_dict(), entry.kind
print(made.id, posted.id)
