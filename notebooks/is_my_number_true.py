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
# # Is my number true?
#
# "My classifier is right in 94 %." Three questions decide whether that will come true on new photos:
#
# 1. **Leaks**: do copies, or photos of one burst, lie on both sides of the test?
# 2. **Groups**: are the new photos of the same sites, animals and days as the old ones?
# 3. **Shortcuts**: has it learned the animal, or something else that happened to be in the photos?
#
# The first part makes its own pictures, so it runs everywhere. The second and third part use two sets of real photos. If you have them,
# set the environment variables `CLOWNFISH_COURSE_FISH` and `CLOWNFISH_CARABID_BEETLES` to their folders. If not, these parts are skipped.

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
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import clownfish

work = Path(tempfile.mkdtemp(prefix="clownfish-"))
course_fish = os.environ.get("CLOWNFISH_COURSE_FISH", "")
carabid_beetles = os.environ.get("CLOWNFISH_CARABID_BEETLES", "")


def tell(name, part):
    """Print an accuracy with its interval."""
    accuracy = part["accuracy"]
    print(f"{name}: {accuracy['value']:.0%} ({accuracy['low']:.0%} to {accuracy['high']:.0%})")


def draw_bars(bars, chance):
    """Draw accuracies with their intervals, one below the other."""
    _, axis = plt.subplots(figsize=(8, 0.6 * len(bars) + 1))
    for height, (_, accuracy) in enumerate(reversed(bars)):
        axis.plot([accuracy["low"], accuracy["high"]], [height, height], linewidth=6, alpha=0.4, color="#0072b2")
        axis.plot(accuracy["value"], height, "o", color="#0072b2")
    axis.axvline(chance, linestyle=":", color="grey")
    axis.set_yticks(range(len(bars)), [name for name, _ in reversed(bars)])
    axis.set(xlim=(0, 1), ylim=(-0.6, len(bars) - 0.4), xlabel="share named right (dotted: guessing)")
    plt.show()


# %% [markdown]
# ## 1. A leak that we make ourselves
#
# Two "species" that look exactly alike: blurred blobs of random colours. Nothing can be learned, so an honest test has to give about 50 %.
# But each "animal" is photographed four times, with a little noise and from a little further left or right.

# %%
random = np.random.default_rng(7)
rows = []
for number in range(60):
    label = ("species_a", "species_b")[number % 2]
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    animal = np.asarray(coarse.resize((160, 160), Image.Resampling.BICUBIC)).astype(int)
    for shot in range(4):
        left, top = random.integers(0, 32, 2)
        noise = random.integers(-25, 26, (128, 128, 3))
        photo = Image.fromarray(np.clip(animal[top : top + 128, left : left + 128] + noise, 0, 255).astype(np.uint8))
        file = work / "blobs" / label / f"animal{number:02}_{shot}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo.save(file)
        rows.append([file.relative_to(work).as_posix(), label, f"animal{number:02}"])

with (work / "blobs.csv").open("w", encoding="utf-8", newline="") as table:
    csv.writer(table).writerows([["file", "label", "animal"], *rows])
print(f"{len(rows)} photos of {len({row[2] for row in rows})} animals")

# %% [markdown]
# We tell clownfish which photos show the same animal. It keeps them together, and also does what most programs do: deal the photos out
# one by one.

# %%
run = clownfish.train(work / "blobs.csv", group_by="animal", out=work / "blobs-run", quiet=True, fast=True)
tested = run.metrics["cross_validated"]
tell("animals kept together", tested)
tell("photos dealt out one by one", tested["random_split"])
draw_bars(
    [
        ("animals kept together", tested["accuracy"]),
        ("dealt out one by one", tested["random_split"]["accuracy"]),
    ],
    run.metrics["chance"]["accuracy"],
)

# %% [markdown]
# The second number is an illusion: the classifier has seen each animal, and knows it again. On the next animal it guesses. (A little below 50 %
# is usual where nothing can be learned: if one species is left out for the test a little more often, the other is commoner in the training.)
#
# The verdict on learning, in words:

# %%
print(run.metrics["verdicts"][0]["sentence"])
print("->", run.metrics["verdicts"][0]["advice"])

# %% [markdown]
# ## 2. A shortcut that we make ourselves
#
# Now digits that can really be told apart. But the photos of one class get a date stamp in the corner, as from another camera.

# %%
from clownfish.pipeline.demo import write_demo_photos

stamped = work / "stamped"
write_demo_photos(work / "digits", num_per_class=40)
for label in ("digit_1", "digit_3", "digit_8"):
    (stamped / label).mkdir(parents=True)
    for path in sorted((work / "digits" / label).iterdir()):
        with Image.open(path) as picture:
            photo = picture.convert("RGB")
        if label == "digit_8":
            ImageDraw.Draw(photo).rectangle([88, 112, 124, 124], fill=(250, 150, 0))
        photo.save(stamped / label / path.name)

found = clownfish.audit(stamped, quiet=True, out=work / "audit")
for message in found.messages:
    print("*", message)

# %% [markdown]
# The accuracy does not show it: with the stamp, the classifier is right, and the test photos have the stamp too. The audit trains small classifiers that may see
# only one thing (the border, 8 x 8 pixels, the format, ...), and looks for marks at a fixed place.

# %%
for probe in found.metrics["shortcuts"]["probes"]:
    share = probe["balanced_accuracy"]["value"]
    print(f"{probe['name']:<10} alone: {share:.0%} right{'   <- suspicious' if probe['found'] else ''}")
for mark in found.metrics["shortcuts"]["marks"]:
    print(f"a mark at the {mark['place']} of {mark['label']}")

# %% [markdown]
# ## 3. Real photos: the fish of the course
#
# 155 photos of three species. Nearly all photos of striped bass are upside-down copies, made by augmentation; the other species have none. So
# "upside down" means "striped bass".

# %%
if course_fish:
    fish = clownfish.audit(course_fish, quiet=True)
    for message in fish.messages:
        print("*", message)
else:
    print("Skipped: CLOWNFISH_COURSE_FISH is not set.")

# %%
if course_fish:
    fish_run = clownfish.train(course_fish, out=work / "fish", quiet=True, fast=True)
    tell("cross-validated", fish_run.metrics["cross_validated"])
    for row in fish_run.metrics["cross_validated"]["per_class"]:
        print(f"  {row['label']}: {row['recall']:.0%} of {row['num_photos']}")
else:
    print("Skipped: CLOWNFISH_COURSE_FISH is not set.")

# %% [markdown]
# The number is high, and it is true for photos like these: with striped bass upside down. For photos of a fish held upright it promises nothing.
#
# ## 4. Real photos: beetles of 14 sites
#
# 1,391 photos of ground beetles of ten species. Each beetle was photographed from above and from below. There are three questions, and three answers:
#
# * photos dealt out one by one: the two views of one beetle are on both sides;
# * beetles kept together: a new beetle of the same sites;
# * sites kept together: a beetle of a site that was not in the training.

# %%
bars = []
if carabid_beetles:
    folder = Path(carabid_beetles)
    with folder.with_name(f"{folder.name}.groups.csv").open(encoding="utf-8", newline="") as table:
        known = list(csv.DictReader(table))
    with (work / "beetles.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "label", "individual", "site"])
        writer.writerows([row["file"], row["class"], row["individual"], row["site"]] for row in known)
    for column in ("individual", "site"):
        beetles = clownfish.train(
            work / "beetles.csv", folder=folder, group_by=column, out=work / f"beetles-{column}", quiet=True, fast=True
        )
        if not bars:
            bars.append(("photos dealt out one by one", beetles.metrics["cross_validated"]["random_split"]["accuracy"]))
        bars.append((f"each {column} kept together", beetles.metrics["cross_validated"]["accuracy"]))
    for name, accuracy in bars:
        tell(name, {"accuracy": accuracy})
    draw_bars(bars, beetles.metrics["chance"]["accuracy"])
else:
    print("Skipped: CLOWNFISH_CARABID_BEETLES is not set.")

# %% [markdown]
# All three numbers are computed correctly, from the same photos. Which one is *true* depends on where you will take the next photo.
#
# ## What to do with your own photos
#
# 1. `clownfish audit photos --out audit`, and look at the pictures it shows.
# 2. Think about what belongs together (animal, trap, day, site), write it into a column, and use `--group-by`.
# 3. Keep one site or one day away from everything. Test on it at the end, once.
