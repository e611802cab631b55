"""Types as another project's `mypy --strict` sees them; never run."""

from pathlib import Path

import torch
from typing_extensions import assert_type

import graphfew as gf

model = assert_type(gf.create("egnn", encoder=gf.backbones.conv4()), gf.GraphMethod)
data = assert_type(gf.data.glyphs("train"), gf.Dataset)
tasks = gf.Tasks(data, way=5, shot=1, query=5)
episode, target = tasks.batch(range(4))
assert_type(episode, gf.Episode)
assert_type(target, torch.Tensor)
assert_type(gf.predict(model, episode), torch.Tensor)
for step in gf.train(model, tasks, loss=gf.edge_loss, batch=2, steps=2):
    assert_type(step, gf.TrainStep)
    assert_type(step.loss, float)
assert_type(gf.evaluate(model, tasks, 4), gf.Result)
assert_type(gf.save(model, "egnn"), Path)
assert_type(gf.load("egnn"), gf.GraphMethod)
assert_type(gf.propagation.knn(torch.zeros(5, 2), 1).index, torch.Tensor)
assert_type(gf.__version__, str)
assert_type(gf.METHODS, dict[str, gf.MethodSpec])
classifier = assert_type(gf.FewShotClassifier("label_propagation"), gf.FewShotClassifier)

# What is wrong is found: were graphfew untyped, these comments would be unused, and so errors.
gf.create(5, encoder=gf.backbones.conv4())  # type: ignore[arg-type]
gf.no_such_name  # type: ignore[attr-defined]  # noqa: B018
