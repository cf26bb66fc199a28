"""A program in the style of lightning-hydra-template: all that is trained, and how, stands in configs/."""

import sys
from pathlib import Path

import hydra
import lightning.pytorch as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

sys.path.append(str(Path(__file__).parents[1]))


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> float:
    pl.seed_everything(cfg.seed)
    model = instantiate(cfg.model)
    data = instantiate(cfg.data)
    callbacks = [instantiate(callback) for callback in (cfg.get("callbacks") or {}).values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks)
    trainer.fit(model, data)
    return trainer.callback_metrics[cfg.optimized_metric].item()


if __name__ == "__main__":
    main()
