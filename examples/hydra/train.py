"""An ordinary Hydra app: it knows nothing of besom, and returns the number that a sweep is about."""

import hydra
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    digits = load_digits()
    pipeline = make_pipeline(hydra.utils.instantiate(cfg.preprocess), hydra.utils.instantiate(cfg.model))
    scores = cross_val_score(pipeline, digits.data, digits.target, cv=cfg.folds)
    print(f"accuracy {scores.mean():.4f} +- {scores.std():.4f}")
    return float(scores.mean())


if __name__ == "__main__":
    main()
