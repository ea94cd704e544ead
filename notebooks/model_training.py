# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Practice: model training
#
# You have photos of species, sorted into one folder a species. At the end of this notebook you have a classifier, you know how good it is,
# and it has named photos that it has never seen.
#
# It takes a minute or two, without a GPU and without the internet. Run the cells one after the other, from top to bottom.
#
# By default it uses handwritten digits, which come with clownfish. To use your own photos, put the path of their folder into
# `MY_PHOTOS` below, or set the environment variable `CLOWNFISH_PHOTOS` before you start.

# %%
# Only on Colab: install clownfish. Elsewhere this cell does nothing. If clownfish is not on PyPI yet, make a wheel of it
# (in the folder of its source code: pip wheel --no-deps .) and put it into Colab's files, at the left, before you run this.
import sys

if "google.colab" in sys.modules:
    import subprocess
    from pathlib import Path

    wheels = sorted(map(str, Path().glob("clownfish-*.whl")))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *(wheels or ["clownfish"]), "matplotlib"], check=True
    )

# %%
import csv
import os
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image, ImageOps

import clownfish

MY_PHOTOS = os.environ.get("CLOWNFISH_PHOTOS", "")  # such as "/home/me/photos"; "" for digits
work = Path(tempfile.mkdtemp(prefix="clownfish-"))


def read_table(path):
    """Read a CSV as a list of rows."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def show_photos(files, titles, colours=None, columns=5):
    """Show photos side by side, each with a title."""
    rows = -(-len(files) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(2 * columns, 2.2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, file, title, colour in zip(axes.flat, files, titles, colours or ["black"] * len(files), strict=False):
        with Image.open(file) as photo:
            axis.imshow(ImageOps.exif_transpose(photo).convert("RGB"))
        axis.set_title(title, fontsize=8, color=colour)
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## 1. Read a folder
#
# One sub-folder a species. The name of the sub-folder is the label of its photos.

# %%
if MY_PHOTOS:
    photos = Path(MY_PHOTOS)
else:
    from clownfish.pipeline.demo import write_demo_photos

    photos = work / "digits"
    write_demo_photos(photos)

labels = sorted(
    folder.name for folder in photos.iterdir() if folder.is_dir() and not folder.name.startswith((".", "_"))
)
endings = {".jpg", ".jpeg", ".png"}
files = {label: [path for path in (photos / label).rglob("*") if path.suffix.lower() in endings] for label in labels}
print(f"{sum(map(len, files.values()))} photos, {len(labels)} labels")
for label in labels:
    print(f"  {label}: {len(files[label])}")

# %% [markdown]
# We keep two photos of each species apart. Nobody looks at them until the last step: they are the "new photos".

# %%
random.seed(1)
new_photos, known_photos = work / "new_photos", work / "photos.csv"
new_photos.mkdir()
rows = []
for label in labels:
    shuffled = random.sample(sorted(files[label]), len(files[label]))
    for path in shuffled[:2]:
        with Image.open(path) as photo:
            ImageOps.exif_transpose(photo).convert("RGB").save(new_photos / f"{label}_{path.stem}.png")
    rows += [[path.relative_to(photos).as_posix(), label] for path in shuffled[2:]]

with known_photos.open("w", encoding="utf-8", newline="") as table:
    csv.writer(table).writerows([["file", "label"], *sorted(rows)])

# %% [markdown]
# ## 2. Split, and look at the photos
#
# * **Training photos** (80 %): the classifier learns from them.
# * **Validation photos** (10 %): they judge the fit while choices are made, such as how long to train.
# * **Test photos** (10 %): kept for one unbiased look at the finished classifier.
#
# clownfish draws the split itself, when it trains. Photos that belong together, such as two copies of one picture, or photos that one camera
# took within a minute, are a **group**. A group is never divided, or the test would be too easy.
#
# Here are 25 photos with their labels.

# %%
examples = random.sample(rows, min(25, len(rows)))
show_photos([photos / file for file, _ in examples], [label for _, label in examples])

# %% [markdown]
# ## 3. Build a classifier
#
# **Transfer learning**: knowledge that was stored while one problem was solved is used again for a related one. A network that has learned to tell
# a thousand kinds of things apart already sees edges, colours, fur and scales. It turns each photo into some thousand numbers. Only the
# layer on top is trained on your photos.
#
# The default network is EfficientNet-Lite0. Others can be chosen by name:

# %%
from clownfish.backbones import BACKBONES

for name, backbone in BACKBONES.items():
    print(
        f"{name}: {backbone.num_parameters:,} parameters, photos of {backbone.input_size} x {backbone.input_size} pixels"
    )

# %% [markdown]
# ## 4. Train
#
# * An **epoch** is one complete pass of the training photos through the algorithm. More epochs help until the fit converges; too many overfit.
# * The **batch size** is the number of photos in one batch.
# * **Iterations** are the batches that make up one epoch: 1000 training photos in batches of 500 are 2 iterations.
#
# Change the numbers and run the cell again. The second time is quicker: what the network sees in a photo is kept in a cache.

# %%
run = clownfish.train(
    known_photos,
    folder=photos,
    out=work / "run",
    epochs=20,
    batch_size=32,
    dropout_rate=0.2,
    learning_rate=0.01,
    momentum=0.9,
    augment=False,  # True: train on mirrored and cropped views too
    backbone="efficientnet_lite0",
    quiet=True,
)
run

# %% [markdown]
# How many numbers were trained, and in how many iterations?

# %%
parameters, parts = run.metrics["num_parameters"], run.metrics["num_photos"]
print(f"pre-trained and left as they are: {parameters['backbone']:,} parameters; trained: {parameters['trained']:,}")
print(f"{parts['train']} training, {parts['validation']} validation and {parts['test']} test photos")
print(f"{run.metrics['iterations_per_epoch']} iterations an epoch")

# %% [markdown]
# Loss and accuracy of each epoch, on training and validation photos. The **loss** is the cross-entropy: it measures how far the predicted
# probabilities are from the truth, and falls as the probability of the true label rises to 1.

# %%
history = read_table(run.path / "history.csv")
for row in history:
    print(
        f"epoch {row['epoch']:>2}: loss {float(row['train_loss']):.3f}, accuracy {float(row['train_accuracy']):.1%};"
        f" validation loss {float(row['validation_loss']):.3f}, accuracy {float(row['validation_accuracy']):.1%}"
    )

# %%
_, axes = plt.subplots(1, 2, figsize=(9, 3))
epochs = [int(row["epoch"]) for row in history]
for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
    for part, style in (("train", "-"), ("validation", "--")):
        axis.plot(epochs, [float(row[f"{part}_{measure}"]) for row in history], style, label=part)
    axis.axvline(run.metrics["best_epoch"], color="grey", linestyle=":", label="kept epoch")
    axis.set(xlabel="epoch", ylabel=measure)
axes[0].legend()
plt.show()

# %% [markdown]
# **Overfitting**: the model corresponds too closely to its training photos, and fails on photos it has not seen. One sign is that it does much
# better on the training than on the test photos. But such a gap alone does not say whether it could be better. clownfish tries, and says:

# %%
for verdict in run.metrics["verdicts"]:
    print(f"{verdict['name']}: {verdict['sentence']}\n    -> {verdict['advice']}\n")

# %% [markdown]
# ## 5. Evaluate
#
# **Accuracy** is the number of correct predictions divided by all predictions. With few test photos it is not exact, so there is an interval: the
# true value probably lies in it. *Cross-validated* means that the photos are divided into five parts, and each part is the test once.

# %%
for part in ("train", "validation", "test", "cross_validated"):
    numbers = run.metrics[part]
    accuracy = numbers["accuracy"]
    print(
        f"{part}: {accuracy['value']:.1%} right ({accuracy['low']:.1%} to {accuracy['high']:.1%}),"
        f" cross-entropy {numbers['cross_entropy']:.3f}, {numbers['num_photos']} photos"
    )
print(f"guessing: {run.metrics['chance']['accuracy']:.1%}, cross-entropy {run.metrics['chance']['cross_entropy']:.3f}")

# %% [markdown]
# Up to 100 test photos with their predicted label. What is wrong is red.

# %%
predictions = read_table(run.path / "predictions.csv")
tested = [row for row in predictions if row["split"] == "test"][:100]
show_photos(
    [photos / row["file"] for row in tested],
    [row["predicted"] if row["correct"] == "true" else f"{row['predicted']}, not {row['label']}" for row in tested],
    ["black" if row["correct"] == "true" else "red" for row in tested],
    columns=10,
)

# %% [markdown]
# ## 6. Tables
#
# The tables are already written, as CSV. `predictions.csv` has one row a photo: expected and predicted label, and the probability of each
# class. Here is its beginning, and how often each label was expected and predicted among the test photos.

# %%
for row in tested[:5]:
    print(row["file"], "expected", row["label"], "predicted", row["predicted"], f"{float(row['probability']):.1%}")

print(f"\n{'class':<20} expected predicted")
for label in run.metrics["classes"]:
    expected = sum(row["label"] == label for row in tested)
    print(f"{label:<20} {expected:>8} {sum(row['predicted'] == label for row in tested):>9}")

# %% [markdown]
# ## 7. Confusion matrix
#
# Each row is a true class, each column an answer. On the left counts, on the right shares of each true class. It uses every photo once, from
# cross-validation. For one class against all others: what lies on the diagonal is *true positive*, the rest of its row *false negative*, the
# rest of its column *false positive*, and everything else *true negative*.

# %%
matrix, classes = run.metrics["cross_validated"]["confusion_matrix"], run.metrics["classes"]
shares = [[count / max(sum(row), 1) for count in row] for row in matrix]
_, axes = plt.subplots(1, 2, figsize=(12, 5))
for axis, values, write in zip(axes, (matrix, shares), (str, "{:.0%}".format), strict=True):
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, row in enumerate(values):
        for answer, value in enumerate(row):
            if value and len(classes) <= 20:
                colour = "white" if shares[true][answer] > 0.5 else "black"
                axis.text(answer, true, write(value), ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="answer", ylabel="true class")
plt.tight_layout()
plt.show()

# %%
for row in run.metrics["cross_validated"]["per_class"]:
    print(f"{row['label']}: TP {row['tp']}, FN {row['fn']}, FP {row['fp']}, TN {row['tn']}")

# %% [markdown]
# ## 8. Export
#
# The classifier is exported already: `model.onnx`. Labels, preparation of the photos, and rules for "I do not know" are inside. It runs wherever ONNX
# Runtime runs. For a phone, `clownfish.export_model(run.path, to="tflite")` writes a TensorFlow Lite file (with the extra `clownfish[tflite]`), and checks
# that it gives the same answers. `report.html` tells everything again, to read in a browser.

# %%
for path in sorted(run.path.iterdir()):
    print(f"{path.stat().st_size / 1e6:8.3f} MB  {path.name}")

# %% [markdown]
# ## 9. Load the file, and classify new photos
#
# These are the photos that we kept apart in step 1.

# %%
classifier = clownfish.load(run.path / "model.onnx")
classifier

# %%
new_files = sorted(new_photos.iterdir())[:40]
answers = [classifier.predict(path) for path in new_files]
titles = [
    f"{answer.label} {answer.probability:.0%}" + ("" if answer.status == "ok" else f"\n{answer.status}")
    for answer in answers
]
show_photos(new_files, titles, columns=10)

# %% [markdown]
# For a whole folder, a table is better. Its column `status` says which answers to use.

# %%
summary = clownfish.predict(classifier, new_photos, work / "new.csv", quiet=True)
print(
    f"{summary.num_photos} photos: {dict(summary.counts)}; unsure {summary.num_unsure}, unlike anything seen {summary.num_unlike}"
)

# %% [markdown]
# ## 10. Augmentation
#
# Mirrored and cropped copies of a photo make a training set larger. They have to be made **after** the split, of training photos only. Who writes them to disk and
# splits afterwards has copies of one photo on both sides: the accuracy is then too good. With `augment=True` clownfish does it right.

# %%
augmented = clownfish.train(known_photos, folder=photos, out=work / "augmented", augment=True, fast=True, quiet=True)
for name, trained in (("without", run), ("with augmentation", augmented)):
    accuracy = trained.metrics["test"]["accuracy"]
    print(f"{name}: {accuracy['value']:.1%} of the test photos ({accuracy['low']:.1%} to {accuracy['high']:.1%})")

# %% [markdown]
# Do the intervals overlap? Then these few test photos cannot say which is better.
#
# **Go on with** the notebook `is_my_number_true`, which asks whether the accuracy is true.
