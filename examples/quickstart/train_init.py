"""The same without argparse: the defaults are in `init`, and a sweep's values replace them."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import besom

with besom.init(config={"lr": 0.001, "hidden": 32, "batch_size": 64, "epochs": 12}) as run:
    config = run.config

    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data, digits.target, test_size=0.3, random_state=0
    )
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

    model = MLPClassifier(
        hidden_layer_sizes=(config.hidden,),
        learning_rate_init=config.lr,
        batch_size=config.batch_size,
        random_state=0,
    )
    for epoch in range(config.epochs):
        model.partial_fit(x_train, y_train, classes=range(10))
        run.log({"epoch": epoch, "loss": model.loss_, "accuracy": model.score(x_test, y_test)})
