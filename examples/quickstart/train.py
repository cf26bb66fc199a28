"""An ordinary training script: argparse in, a number out. The two lines with besom report it to the sweep."""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import besom

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.001)
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--epochs", type=int, default=12)
args = parser.parse_args()

digits = load_digits()
x_train, x_test, y_train, y_test = train_test_split(digits.data, digits.target, test_size=0.3, random_state=0)
scaler = StandardScaler().fit(x_train)
x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

model = MLPClassifier(
    hidden_layer_sizes=(args.hidden,), learning_rate_init=args.lr, batch_size=args.batch_size, random_state=0
)

with besom.init() as run:
    for epoch in range(args.epochs):
        model.partial_fit(x_train, y_train, classes=range(10))
        accuracy = model.score(x_test, y_test)
        run.log({"epoch": epoch, "loss": model.loss_, "accuracy": accuracy})
        print(f"epoch {epoch}: loss {model.loss_:.4f}, accuracy {accuracy:.4f}")
