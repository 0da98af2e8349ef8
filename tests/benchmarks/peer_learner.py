"""What `peers` runs in an environment of other tools; needs nothing of this package.

python peer_learner.py lightgbm|autogluon FOLDER MINUTES
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def within_tests(table: pd.DataFrame, predicted: np.ndarray) -> float:
    """Share of pairs of one A/B test in the right order."""
    hits = pairs = 0.0
    for rows in table.reset_index(drop=True).groupby("ab_test").indices.values():
        rate, guess = table["rate"].to_numpy()[rows], predicted[rows]
        truth = np.sign(rate[:, None] - rate)[np.triu_indices(len(rows), 1)]
        order = np.sign(guess[:, None] - guess)[np.triu_indices(len(rows), 1)]
        hits += ((1 + truth * order) / 2)[truth != 0].sum()
        pairs += (truth != 0).sum()
    return hits / pairs


def lightgbm(train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Gradient-boosted trees on TF-IDF of words and pairs of words: the best of 40 settings."""
    import lightgbm as lgb
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
    x, x_validation = words.fit_transform(train["text"]), words.transform(validation["text"])
    rng, best = np.random.default_rng(0), (-1.0, None, None)
    for _ in range(40):
        settings = {
            "num_leaves": int(rng.choice([4, 8, 16, 32])),
            "learning_rate": float(10 ** rng.uniform(-2, -0.7)),
            "min_child_samples": int(rng.choice([5, 20, 50, 100])),
            "colsample_bytree": float(rng.uniform(0.1, 1)),
            "reg_lambda": float(10 ** rng.uniform(-3, 2)),
        }
        model = lgb.LGBMRegressor(n_estimators=500, random_state=0, verbose=-1, **settings)
        model.fit(
            x, train["rate"] * 100, sample_weight=train["impressions"],
            eval_set=[(x_validation, validation["rate"] * 100)],
            eval_sample_weight=[validation["impressions"]],
            callbacks=[lgb.early_stopping(30, verbose=False)],
        )  # fmt: skip
        score = within_tests(validation, model.predict(x_validation))
        if score > best[0]:
            best = (score, model, settings)
    print(f"lightgbm: validation {best[0]:.4f} with {best[2]}")
    return best[1].predict(words.transform(test["text"])) / 100


def autogluon(
    train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, minilm: str, minutes: float
) -> np.ndarray:
    """AutoGluon MultiModal's own way of regression, with the same encoder."""
    from autogluon.multimodal import MultiModalPredictor

    predictor = MultiModalPredictor(label="rate", problem_type="regression", path="autogluon")
    predictor.fit(
        train[["text", "rate"]],
        tuning_data=validation[["text", "rate"]],
        time_limit=60 * minutes,
        hyperparameters={"model.hf_text.checkpoint_name": minilm, "env.num_workers": 0},
    )
    return predictor.predict(test, as_pandas=False)


def main(peer: str, folder: Path, minutes: float) -> None:
    """Learn from two parts, and write predicted rates of the third."""
    train, validation, test = (
        pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "validation", "test")
    )
    if peer == "lightgbm":
        predicted = lightgbm(train, validation, test)
    else:
        minilm = json.loads((folder / "settings.json").read_text())["minilm"]
        predicted = autogluon(train, validation, test, minilm, minutes)
    np.save(folder / f"{peer}.npy", np.clip(predicted, 1e-6, 1 - 1e-6))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
