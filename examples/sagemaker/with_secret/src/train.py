"""Uses a credential that only the job's role can read; what is printed of it is masked."""

import os

import besom

run = besom.init()
token = os.environ["SERVICE_TOKEN"]
print("logging in with", token)
run.log({"loss": run.config.x, "token_length": len(token)})
