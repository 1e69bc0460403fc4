"""The picture that a demo leaves: each site's AUC with its own model, the swarm's and the pooled one."""

from pathlib import Path
from typing import Any

from swarm.evaluation import MODELS

COLOURS = {"local": "#b0b7bf", "swarm": "#1764ab", "pooled": "#7fb069"}
LABELS = {"local": "its own model", "swarm": "the swarm's model", "pooled": "trained on everybody's data"}


def draw(data: dict[str, Any], path: Path) -> None:
    """Draw the sites' AUC and the seconds of each round as a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), gridspec_kw={"width_ratios": [3, 2]}, dpi=130)
    _draw_sites(left, data["sites"])
    _draw_rounds(right, data["rounds"])
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _draw_sites(axes: Any, sites: list[dict[str, Any]]) -> None:
    width = 0.8 / len(MODELS)
    for offset, model in enumerate(MODELS):
        values = [site[model]["auc"] or 0.0 for site in sites]
        places = [index + (offset - 1) * width for index in range(len(sites))]
        axes.bar(places, values, width, color=COLOURS[model], label=LABELS[model])
        ranges = [site[model]["auc_interval"] or (value, value) for site, value in zip(sites, values, strict=True)]
        below = [max(0.0, value - low) for (low, _), value in zip(ranges, values, strict=True)]
        above = [max(0.0, high - value) for (_, high), value in zip(ranges, values, strict=True)]
        axes.errorbar(places, values, (below, above), fmt="none", ecolor="#333333", elinewidth=0.8, capsize=2)
    lows = [(site[model]["auc_interval"] or [site[model]["auc"] or 0.5])[0] for site in sites for model in MODELS]
    axes.set_ylim(max(0.0, min(lows) - 0.05), 1.005)
    axes.set_xticks(range(len(sites)), [f"{site['name']}\n{site['samples']} patients" for site in sites])
    axes.set_ylabel("AUC on the site's own test patients, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(MODELS), fontsize=8)


def _draw_rounds(axes: Any, rounds: list[dict[str, Any]]) -> None:
    timed = [one for one in rounds if one["seconds"]]
    bottom = [0.0] * len(timed)
    for phase, colour in (("collecting", "#7fb069"), ("merging", "#1764ab"), ("reviewing", "#b0b7bf")):
        heights = [one["seconds"][phase] for one in timed]
        axes.bar([one["number"] for one in timed], heights, bottom=bottom, color=colour, label=phase)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    for index, one in enumerate(timed):
        if any(term["fault"] for term in one["terms"]):
            axes.annotate(
                "fault", (one["number"], bottom[index]), ha="center", va="bottom", color="#b3261e", fontsize=8
            )
    axes.set_xlabel("round (0 agrees the statistics)")
    axes.set_ylabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8)
