"""From electron-microscopy volumes to maps of cellular structure that you can defend.

Example:
    >>> import cristae
    >>> recipe = cristae.load_recipe("mito.yaml")  # doctest: +SKIP
    >>> run = cristae.train(recipe)  # doctest: +SKIP
    >>> prediction = cristae.predict([run], cristae.open_volume("cell.mrc"), out="cell.zarr")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cristae.analysis.config import AnalysisOptions as AnalysisOptions
    from cristae.benchmark.load import load_plan as load_plan
    from cristae.benchmark.plan import Plan as Plan
    from cristae.benchmark.run import benchmark as run_benchmark  # noqa: F401
    from cristae.cli.progress import LineProgress as LineProgress
    from cristae.cluster.options import ClusterOptions as ClusterOptions
    from cristae.data.box import Box as Box
    from cristae.data.classes import Classes as Classes
    from cristae.data.formats import open_image as open_image
    from cristae.data.formats import open_images as open_images
    from cristae.data.formats import write_image as write_image
    from cristae.data.image import Image as Image
    from cristae.data.image import image_of_array as image_of_array
    from cristae.data.open import open_volume as open_volume
    from cristae.data.synthetic import FibSemConfig as FibSemConfig
    from cristae.data.synthetic import SyntheticConfig as SyntheticConfig
    from cristae.data.synthetic import TomogramConfig as TomogramConfig
    from cristae.data.synthetic import synthetic_volume as synthetic_volume
    from cristae.data.volume import Volume as Volume
    from cristae.evaluation.agreement import AgreementOptions as AgreementOptions
    from cristae.evaluation.differences import CompareOptions as CompareOptions
    from cristae.evaluation.ensembles.choice import ChosenEnsemble as ChosenEnsemble
    from cristae.evaluation.ensembles.choice import EnsembleOptions as EnsembleOptions
    from cristae.evaluation.estimate_options import EstimateOptions as EstimateOptions
    from cristae.evaluation.features.options import FeatureOptions as FeatureOptions
    from cristae.evaluation.features.result import FeatureCorrelation as FeatureCorrelation
    from cristae.evaluation.scoring.evaluation import predictions_in as predictions_in
    from cristae.evaluation.scoring.settings import ScoreOptions as ScoreOptions
    from cristae.inference.config import PredictOptions as PredictOptions
    from cristae.inference.prediction import Prediction as Prediction
    from cristae.inference.prediction import open_prediction as open_prediction
    from cristae.metrics.score import Score as Score
    from cristae.models import create_model as create_model
    from cristae.progress import Progress as Progress
    from cristae.recipe.ensemble_file import RunEnsemble as RunEnsemble
    from cristae.recipe.ensemble_file import open_ensemble as open_ensemble
    from cristae.recipe.ensemble_file import write_ensemble as write_ensemble
    from cristae.recipe.load import load_recipe as load_recipe
    from cristae.recipe.load import load_steps as load_steps
    from cristae.recipe.load import parse_recipe as parse_recipe
    from cristae.recipe.proposal.options import ProposalOptions as ProposalOptions
    from cristae.recipe.recipe import Recipe as Recipe
    from cristae.recipe.run import Run as Run
    from cristae.recipe.run import open_run as open_run
    from cristae.recipe.study import Study as Study
    from cristae.recipe.study import open_study as open_study
    from cristae.recipe.text import diff_recipes as diff_recipes
    from cristae.recipe.text import recipe_schema as recipe_schema
    from cristae.recipe.text import recipe_to_yaml as recipe_to_yaml
    from cristae.training.cache_folder import clear_cache as clear_cache
    from cristae.training.cache_folder import list_cache as list_cache
    from cristae.workflows.agree import agree as agree
    from cristae.workflows.align import align as align
    from cristae.workflows.analyze import analyze as analyze
    from cristae.workflows.compare import compare as compare
    from cristae.workflows.convert import convert as convert
    from cristae.workflows.correlate import correlate as correlate
    from cristae.workflows.datasets import fetch_dataset as fetch_dataset
    from cristae.workflows.datasets import list_datasets as list_datasets
    from cristae.workflows.demo import demo as demo
    from cristae.workflows.doctor import doctor as doctor
    from cristae.workflows.ensemble import ensemble as ensemble
    from cristae.workflows.estimate import estimate as estimate
    from cristae.workflows.estimate import plan_label_boxes as plan_label_boxes
    from cristae.workflows.estimate import plan_slices as plan_slices
    from cristae.workflows.evaluate import evaluate as evaluate
    from cristae.workflows.inspect import inspect as inspect
    from cristae.workflows.inspect_weights import inspect_weights as inspect_weights
    from cristae.workflows.models import describe_model as describe_model
    from cristae.workflows.models import draw_model as draw_model
    from cristae.workflows.models import list_models as list_models
    from cristae.workflows.new_recipe import new_recipe as new_recipe
    from cristae.workflows.postprocess import postprocess as postprocess
    from cristae.workflows.predict import predict as predict
    from cristae.workflows.recipes import check_recipe as check_recipe
    from cristae.workflows.report import report as write_report  # noqa: F401
    from cristae.workflows.train import train as train
    from cristae.workflows.train_study import train_study as train_study

    __version__: str

_HOME = {
    "AgreementOptions": "evaluation.agreement",
    "AnalysisOptions": "analysis.config",
    "Box": "data.box",
    "ChosenEnsemble": "evaluation.ensembles.choice",
    "Classes": "data.classes",
    "ClusterOptions": "cluster.options",
    "CompareOptions": "evaluation.differences",
    "EstimateOptions": "evaluation.estimate_options",
    "EnsembleOptions": "evaluation.ensembles.choice",
    "FeatureCorrelation": "evaluation.features.result",
    "FeatureOptions": "evaluation.features.options",
    "FibSemConfig": "data.synthetic",
    "Image": "data.image",
    "LineProgress": "cli.progress",
    "Plan": "benchmark.plan",
    "PredictOptions": "inference.config",
    "Prediction": "inference.prediction",
    "Progress": "progress",
    "ProposalOptions": "recipe.proposal.options",
    "Recipe": "recipe.recipe",
    "Run": "recipe.run",
    "RunEnsemble": "recipe.ensemble_file",
    "Score": "metrics.score",
    "ScoreOptions": "evaluation.scoring.settings",
    "Study": "recipe.study",
    "SyntheticConfig": "data.synthetic",
    "TomogramConfig": "data.synthetic",
    "Volume": "data.volume",
    "agree": "workflows.agree",
    "align": "workflows.align",
    "analyze": "workflows.analyze",
    "check_recipe": "workflows.recipes",
    "clear_cache": "training.cache_folder",
    "compare": "workflows.compare",
    "convert": "workflows.convert",
    "correlate": "workflows.correlate",
    "create_model": "models",
    "demo": "workflows.demo",
    "describe_model": "workflows.models",
    "diff_recipes": "recipe.text",
    "doctor": "workflows.doctor",
    "draw_model": "workflows.models",
    "estimate": "workflows.estimate",
    "ensemble": "workflows.ensemble",
    "evaluate": "workflows.evaluate",
    "fetch_dataset": "workflows.datasets",
    "image_of_array": "data.image",
    "inspect": "workflows.inspect",
    "inspect_weights": "workflows.inspect_weights",
    "list_cache": "training.cache_folder",
    "list_datasets": "workflows.datasets",
    "list_models": "workflows.models",
    "load_plan": "benchmark.load",
    "load_recipe": "recipe.load",
    "load_steps": "recipe.load",
    "new_recipe": "workflows.new_recipe",
    "open_ensemble": "recipe.ensemble_file",
    "open_image": "data.formats",
    "open_images": "data.formats",
    "open_prediction": "inference.prediction",
    "open_run": "recipe.run",
    "open_study": "recipe.study",
    "open_volume": "data.open",
    "parse_recipe": "recipe.load",
    "plan_label_boxes": "workflows.estimate",
    "plan_slices": "workflows.estimate",
    "postprocess": "workflows.postprocess",
    "predict": "workflows.predict",
    "predictions_in": "evaluation.scoring.evaluation",
    "recipe_schema": "recipe.text",
    "recipe_to_yaml": "recipe.text",
    "run_benchmark": "benchmark.run:benchmark",
    "synthetic_volume": "data.synthetic",
    "train": "workflows.train",
    "train_study": "workflows.train_study",
    "write_ensemble": "recipe.ensemble_file",
    "write_image": "data.formats",
    "write_report": "workflows.report:report",
}
"""Where each public name lives. They are imported when first used, so that `import cristae` takes milliseconds."""

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cristae")
    if name not in _HOME:
        raise AttributeError(f"module 'cristae' has no attribute '{name}'")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(import_module(f"cristae.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
