"""Features of texts that people would name: measured, standardised, saved and explained by name."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from command import ni
from scipy.special import expit

from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import explain
from ni_platform.dashboard.explaining import Explainer
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig, Pretraining
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.insights import make_insights
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.inputs import InputEncoder, columns_of
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.modalities.wording import (
    NamedWording,
    WordingEncoderConfig,
    WordingReader,
    level_of,
    measured,
)
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.opened import fitted_to
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import encodable

EVERY = ("en", "de", "fr", "es")
GP = GaussianProcessConfig(wording=NamedWording(), kernel="linear")
TEXT = TextEncoderConfig(
    architecture="scratch", weights=None, scratch=ScratchTransformerConfig(vocabulary=300)
)
NAMES = ["words", "word length", "question", "exclamation", "number", "number first",
         "second person", "first person", "quotes", "capitals", "colon", "ellipsis", "emoji",
         "sentiment"]  # fmt: skip


def written(folder, *titles, columns=("title",), clicks=20) -> Dataset:
    """Contents of these titles, two per A/B test, each shown 1,000 times."""
    rows = range(len(titles))
    frame = pd.DataFrame(
        {
            "id": rows,
            "test": [f"t{row // 2}" for row in rows],
            "title": titles,
            "lede": [None for _ in rows],
            "shown": 1000,
            "clicks": clicks,
        }
    )
    manifest = Manifest(
        name="d",
        columns=Columns(content_id="id", ab_test="test", text=columns),
        target=Target(impressions="shown", clicks="clicks"),
        assignment="randomised",
    )
    return write_dataset(folder, manifest, frame)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("?!", {"question": 1, "exclamation": 1}),
        ("2024", {"words": 1, "word length": 4, "number": 1, "number first": 1}),
        ("😀 🎉", {"emoji": 1}),
        (
            "“7 ways” to save $9.99: your guide",
            # 1 + 4 + 2 + 4 + 3 + 4 + 5 letters and digits
            {"words": 7, "word length": 23 / 7, "number": 1, "number first": 1, "quotes": 1,
             "colon": 1, "second person": 1},
        ),
        (
            "WOW! It's 'news' at 10:30 — I SAID so…",
            # WOW, Its, news, at, 1030, I, SAID, so; a single I is no shout. The lexicon's 0.1 for
            # "wow" counts a quarter more for its exclamation mark.
            {"words": 8, "word length": 23 / 8, "exclamation": 1, "number": 1, "quotes": 1,
             "first person": 1, "capitals": 2 / 8, "ellipsis": 1, "sentiment": 0.125},
        ),
        ("Don't touch the boy's car", {"words": 5, "word length": 19 / 5}),
        ("What US youth do", {"words": 4, "word length": 13 / 4, "capitals": 1 / 4}),
        ("为什么？", {"words": 1, "word length": 3, "question": 1}),
        ("٣ أسباب؟", {"words": 2, "word length": 3, "question": 1, "number": 1,
                     "number first": 1}),
    ],
)  # fmt: skip
def test_features_of_a_text(text, expected):
    """Counted by hand; what is not named is 0."""
    found = measured(text)
    assert list(found) == NAMES
    assert found == pytest.approx(dict.fromkeys(NAMES, 0) | expected)


@pytest.mark.parametrize(
    ("text", "language", "second", "first"),
    [
        ("You're next", "en", True, False),
        ("Join us", "en", False, True),
        ("Young bayou", "en", False, False),
        ("Das ist dein Tag", "de", True, False),
        ("Kommen Sie zu uns", "de", True, True),
        ("Sie kommen heute", "de", False, False),
        ("Was ihnen fehlt", "de", False, False),
        ("Le prix du pain", "fr", False, False),
        ("J’aime votre idée", "fr", True, True),
        ("Tú y yo", "es", True, True),
        (unicodedata.normalize("NFD", "Solo tú"), "es", True, False),
        ("Das ist dein Tag", "en", False, False),
    ],
)
def test_persons_of_the_languages_that_are_named(text, language, second, first):
    """Pronouns of a language count where it is named, and the French "du" is no German one."""
    found = measured(text, (language,))
    assert (found["second person"], found["first person"]) == (second, first)
    assert ("sentiment" in found) == (language == "en")


def test_sentiment_is_that_of_the_lexicon():
    """Signs as in the lexicon of TextBlob, with negation, and 0 for words that it lacks."""
    best, worst, negated = (
        measured(text)["sentiment"] for text in ("a wonderful day", "a terrible day", "not good")
    )
    assert (best, worst) == (1, -1)
    assert negated == pytest.approx(-0.35)  # half of good's 0.7, turned around


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("words", 5, "0 to 5"),
        ("words", 6, "6 to 10"),
        ("words", 200, "101 to 200"),
        ("words", 201, "over 200"),
        ("word length", 4.6, "5"),
        ("capitals", 0.0, "none"),
        ("capitals", 0.1, "some"),
        ("capitals", 0.5, "most"),
        ("sentiment", 0.02, "neutral"),
        ("sentiment", -0.3, "negative"),
        ("sentiment", 0.3, "positive"),
        ("question", True, "yes"),
        ("question", False, "no"),
    ],
)
def test_levels_as_people_say_them(name, value, level):
    """Bands of counts and shares; yes or no of what a text has or has not."""
    assert level_of(name, value) == level


def test_scales_are_those_of_training_rows_with_a_text(tmp_path):
    """One word and seven: log 2 and log 8, so three words are the mean, whatever other rows say."""
    dataset = written(tmp_path / "d", "one", None, "a b c d e f g", " ", "x " * 900, "Why so long?")
    inputs = InputEncoder.fit({"wording": NamedWording()}, dataset, [0, 1, 2, 3])
    reader = inputs.readers["wording"]
    assert reader.scales[0] == ("words", pytest.approx(2 * np.log(2)), pytest.approx(np.log(2)))
    frame = pd.DataFrame({"title": ["one", "u v w", "  ", None, "a b c d e f g"]})
    read = inputs.encode(frame).modalities["wording"]
    assert read.present_B.tolist() == [True, True, False, False, True]
    assert not read.complete
    (values_BF,) = read.tensors
    assert values_BF[:, 0].tolist() == pytest.approx([-1, 0, 0, 0, 1], abs=1e-6)
    assert not values_BF[2:4].any()
    # No training text asks: a question is as far away as it is measured, not divided by zero.
    asked = inputs.encode(pd.DataFrame({"title": ["why?"]})).modalities["wording"].tensors[0]
    assert asked[0, NAMES.index("question")].item() == pytest.approx(np.log(2))


def test_texts_are_read_alongside_the_text_encoder(tmp_path):
    """Both read all text columns, in whichever order they are named, joined; others do not."""
    dataset = written(tmp_path / "d", "free shoes", "new sale", columns=("title", "lede"))
    columns = dataset.manifest.columns
    parts = {"wording": NamedWording(), "text": TEXT}
    for order in (parts, dict(reversed(parts.items()))):
        assert {n: own.inputs for n, own in columns_of(order, columns).items()} == dict.fromkeys(
            parts, ("title", "lede")
        )
    inputs = InputEncoder.fit(parts, dataset, [0, 1])
    assert inputs.roles == {"title": "text", "lede": "text"}
    frame = pd.DataFrame({"title": ["Why", None], "lede": ["now?", "here"]})
    names = inputs.readers["wording"].elements(frame, [["words", "question"]] * 2)
    assert names == [
        [("words", "0 to 5"), ("question", "yes")],
        [("words", "0 to 5"), ("question", "no")],
    ]


def test_a_dataset_without_texts_has_no_wording(tmp_path):
    """The modality is left out, in pretraining and among frozen encoders too."""
    dataset = written(tmp_path / "d", "free shoes", "new sale")
    model = NeuralInsightsConfig(
        text=TEXT, wording=WordingEncoderConfig(mlp=MLPConfig(hidden=(4,)))
    )
    training = TrainingConfig(frozen=("wording",))
    config = ExperimentConfig(
        name="e.e", model=model, training=training, pretraining=Pretraining(wording=training)
    )
    fitted = fitted_to(config, dataset)
    assert list(fitted.pretraining.stages) == ["wording"]
    assert encodable(fitted.network, training) == ("wording",)
    with pytest.raises(ConfigError, match=r"e.e reads text, wording, but .* has none of it"):
        fitted_to(config, written(tmp_path / "none", "a", "b", columns=()))


@pytest.fixture
def planted(tmp_path) -> tuple[Dataset, Scorer]:
    """Twenty tests of a statement and the question with the same words.

    To the model, whose logit is -2 ± 0.5, a question is better. It was so in 15 tests.
    """
    titles = ["see the house", "see the house?"] * 20
    clicks = [20, 30] * 15 + [30, 20] * 5
    dataset = written(tmp_path / "d", *titles, clicks=clicks)
    scorer = build_scorer(GP, dataset, np.arange(40), seed=0)
    model = scorer.model
    model.terms["wording"].variance.fill_(len(NAMES))
    model.terms["wording"].points_UX = torch.eye(len(NAMES))[[NAMES.index("question")]]
    model.weights_U.data = torch.tensor([0.5])
    model.explained_UU = torch.zeros(1, 1)
    model.intercept.fill_(-2)
    return dataset, scorer


@pytest.mark.parametrize("method", ["feature_ablation", "kernel_shap", "integrated_gradients"])
def test_a_planted_feature_is_explained_by_its_name(planted, method):
    """It contributes all that there is, towards the mean of the training texts; others nothing."""
    dataset, scorer = planted
    found = explain(scorer, dataset.inputs([0, 1]), AttributionConfig(methods=(method,)))
    explained = found.modalities["wording"]
    assert explained.names == [NAMES, NAMES]
    assert found.predictions == pytest.approx(expit([-2.5, -1.5]), rel=1e-5)
    for attribution, logit in zip(explained.by_method[method], (-2.5, -1.5), strict=True):
        expected = dict.fromkeys(NAMES, 0.0) | {"question": expit(logit) - expit(-2)}
        tolerance = 1e-3 if method == "integrated_gradients" else 1e-6
        assert dict(zip(NAMES, attribution.raw)) == pytest.approx(expected, abs=tolerance)


def test_a_saved_model_predicts_the_same(planted, tmp_path):
    """With the scales and languages that it was fitted to."""
    _, scorer = planted
    scorer.save(tmp_path / "model")
    loaded = Scorer.load(tmp_path / "model", "cpu")
    assert loaded.inputs.readers == scorer.inputs.readers
    frame = pd.DataFrame({"title": ["see the house?", None, "😀"]})
    assert loaded.predict(frame).tolist() == scorer.predict(frame).tolist()


def test_it_becomes_advice_with_its_past(planted):
    """A question is worth what the model says, and did better in 15 of 20 past tests."""
    dataset, scorer = planted
    parts = pd.DataFrame({"row": np.arange(40), "part": "in_domain"})
    attribution = AttributionConfig(methods=("feature_ablation",))
    config = InsightsConfig(attribution=attribution, replicates=0, permutations=0, shuffles=0)
    found = make_insights(scorer, dataset, parts, config)
    scores = found.scores["wording"].set_index("feature")
    asked, told = scores.loc["question = yes"], scores.loc["question = no"]
    assert asked["score"] == pytest.approx(expit(-1.5) - expit(-2), abs=1e-6)
    assert told["score"] == pytest.approx(expit(-2.5) - expit(-2), abs=1e-6)
    for row in (asked, told):
        assert (row["contents"], row["agreed"], row["of"]) == (20, 0.75, 20)
    assert scores.loc["words = 0 to 5"]["of"] == 0
    agreed = found.modalities["wording"].all_pairs["feature_ablation"]
    assert (agreed.pairs, agreed.pairwise.value) == (20, 0.75)


def test_the_dashboard_shows_features_with_their_level(planted):
    """The largest contribution first."""
    dataset, scorer = planted
    found = Explainer(scorer, None).explain("wording", "key", dataset.inputs([1]), None)
    assert found.features[0] == ("question = yes", pytest.approx(expit(-1.5) - expit(-2), abs=1e-6))
    assert len(found.features) == len(NAMES)


@pytest.mark.parametrize("languages", [(), ("en", "en")])
def test_languages_are_named_once_each(languages):
    """None at all or one twice is refused, with those that there are."""
    with pytest.raises(ConfigError, match=r"at least one of en, de, fr, es.* each once"):
        NamedWording(languages=languages)


def test_it_is_switched_on_by_a_setting(ni_home, tmp_path):
    """Of any experiment; a language that there is not is refused."""
    data = str(written(tmp_path / "d", "free shoes", "new sale").root)
    command = ("train", "ranker.text_small", "--data", data, "--print-config", "--set")
    found = ni(*command, "model.wording={languages: [de, en]}")
    assert found.code == 0, found.stderr
    assert '"languages": [' in found.stdout
    refused = ni(*command, "model.wording={languages: [it]}")
    assert refused.code
    assert "'en', 'de', 'fr' or 'es'" in refused.stderr


def test_another_lexicon_is_another_reading():
    """Encoded outputs that are kept are not those of another version of it."""
    reader = WordingReader(columns=("title",), languages=EVERY, scales=())
    assert reader.describe()["textblob"]
