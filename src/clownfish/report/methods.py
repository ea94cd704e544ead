"""A paragraph for the methods section of a paper, with its references."""

from collections.abc import Mapping
from typing import Any

from clownfish.report.content import ReportContent
from clownfish.report.headline import name_group
from clownfish.report.wording import format_range, format_share, is_number

_REFERENCES = {
    "efficientnet": "Tan, M. & Le, Q. V. (2019) EfficientNet: rethinking model scaling for convolutional neural"
    " networks. Proceedings of Machine Learning Research 97, 6105–6114.",
    "imagenet": "Deng, J., Dong, W., Socher, R., Li, L.-J., Li, K. & Fei-Fei, L. (2009) ImageNet: a"
    " large-scale hierarchical image database. IEEE Conference on Computer Vision and Pattern Recognition, 248–255.",
    "groups": "Roberts, D. R. et al. (2017) Cross-validation strategies for data with temporal, spatial, hierarchical,"
    " or phylogenetic structure. Ecography 40, 913–929.",
    "interval": "Wilson, E. B. (1927) Probable inference, the law of succession, and statistical inference. Journal of"
    " the American Statistical Association 22, 209–212.",
    "calibration": "Guo, C., Pleiss, G., Sun, Y. & Weinberger, K. Q. (2017) On calibration of modern neural networks."
    " Proceedings of Machine Learning Research 70, 1321–1330.",
    "curve": "Viering, T. & Loog, M. (2023) The shape of learning curves: a review. IEEE Transactions on Pattern"
    " Analysis and Machine Intelligence 45, 7799–7819.",
}


def write_methods(content: ReportContent) -> tuple[str, list[str]]:
    """Write what was done, for a paper.

    Args:
        content: of the report.

    Returns:
        The paragraph, and its references.
    """
    metrics, model, options = content.metrics, content.model, content.options
    sentences, cited = [], []
    num_photos = sum(metrics["num_photos"][part] for part in ("train", "validation", "test"))
    backbone = str(model.get("backbone") or "a pre-trained network")
    described = "Each photo was described by"
    if model.get("num_features"):
        described += f" {model['num_features']:,} features of"
    described += f" the network {backbone}"
    if backbone.startswith("efficientnet"):
        described += " (Tan & Le 2019)"
        cited.append("efficientnet")
    if backbone.startswith("timm:"):
        origin = f", with the weights of SHA-256 {str(model.get('weights_sha256') or 'unknown')[:16]},"
    else:
        origin = ", pre-trained on ImageNet (Deng et al. 2009),"
        cited.append("imagenet")
    sentences.append(
        f"A classifier of {len(metrics['classes'])} classes was trained on {num_photos:,} photos with clownfish"
        f" {metrics['versions'].get('clownfish', '')}. {described}{origin} and a"
        " linear layer with a softmax was trained on these features by stochastic gradient descent on the cross-entropy"
        f"{_write_tuning(content) or f' ({_list_settings(content)})'}."
    )
    sentences.append(_write_split(content))
    cited.append("groups")
    cross = metrics.get("cross_validated") or {}
    if is_number((cross.get("accuracy") or {}).get("value")):
        sentences.append(_write_accuracy(cross))
        cited.append("interval")
    if metrics.get("calibration"):
        sentences.append(
            f"Probabilities were calibrated by a temperature of {metrics['calibration']['temperature']:.2f}, fitted on"
            " out-of-fold predictions (Guo et al. 2017)."
        )
        cited.append("calibration")
    answers = (metrics.get("answering") or {}).get("out_of_fold") or {}
    if is_number((answers.get("error") or {}).get("value")):
        sentences.append(
            f"Photos below a certainty chosen for at most {100 * metrics['answering']['max_error']:g} % errors were"
            f" left unanswered; {format_share(answers['answered']['value'])} were answered,"
            f" {format_share(answers['error']['value'])} of those wrongly."
        )
    if metrics.get("learning_curve"):
        sentences.append(
            "The benefit of more photos was forecast from a learning curve over subsets of whole groups (Viering & Loog"
            " 2023)."
        )
        cited.append("curve")
    if options.get("seed") is not None:
        sentences.append(f"All draws were made with seed {options['seed']}.")
    return " ".join(sentences), sorted(_REFERENCES[key] for key in cited)


def _write_tuning(content: ReportContent) -> str:
    """How the network was fine-tuned; "" where it was not, or where that was not kept."""
    tuning, options = content.metrics.get("fine_tuning") or {}, content.options
    if not tuning.get("kept"):
        return ""
    gain = tuning["difference"]
    part = "the whole network" if tuning["stages"] is None else f"the last {tuning['stages']} stages of the network"
    return (
        f"; from there {part} and the layer were fine-tuned for"
        f" {len(content.history)} epochs with augmented photos ({options.get('fine_tune_optimizer')}, learning rate"
        f" {options.get('fine_tune_learning_rate'):g}, batches of {options.get('batch_size')}), which in"
        f" cross-validation raised the accuracy by {100 * gain['value']:.1f} points (95 % interval"
        f" {100 * gain['low']:.1f} to {100 * gain['high']:.1f})"
    )


def _list_settings(content: ReportContent) -> str:
    options = content.options
    settings = [f"{len(content.history)} epochs"]
    if options.get("batch_size"):
        settings.append(f"batches of {options['batch_size']}")
    if content.metrics.get("learning_rate"):
        settings.append(f"learning rate {content.metrics['learning_rate']:.2g}")
    if options.get("momentum") is not None:
        settings.append(f"momentum {options['momentum']}")
    if content.metrics.get("weight_decay") is not None:
        settings.append(f"weight decay {content.metrics['weight_decay']:.2g}")
    return ", ".join(settings)


def _write_split(content: ReportContent) -> str:
    photos, num_groups = content.metrics["num_photos"], content.metrics["num_groups"]
    group = name_group(content)
    by = f" by {group}" if group != "group" else ""
    return (
        f"Photos that belong together were kept in one group{by} ({num_groups:,} groups), and groups were never divided"
        f" between {photos['train']:,} training, {photos['validation']:,} validation and {photos['test']:,} test photos"
        " (Roberts et al. 2017)."
    )


def _write_accuracy(cross: Mapping[str, Any]) -> str:
    between = format_range(cross["accuracy"])
    return (
        f"Accuracy in {cross.get('num_folds', 'several')}-fold cross-validation with whole groups was"
        f" {format_share(cross['accuracy']['value'])}{f' (95 % interval {between})' if between else ''}, with an"
        " interval for grouped photos (Wilson 1927)."
    )
